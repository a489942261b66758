"""A run as a real TensorBoard server shows it (slow: starts the server)."""

import json
import re
import subprocess
import sys
import time
import urllib.request

import pytest


@pytest.fixture
def server(finished_run):
    """The address of a local TensorBoard that shows the finished run."""
    with subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", finished_run / "tensorboard",
         "--host", "127.0.0.1", "--port", "0", "--load_fast", "false"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            for line in process.stdout:
                found = re.search(r"http://127\.0\.0\.1:\d+/", line)
                if found:
                    yield found.group()
                    break
            else:
                pytest.fail("TensorBoard did not start")
        finally:
            process.kill()


def _get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_scalars_and_hyper_parameters_are_shown(server):
    until = time.monotonic() + 60
    while True:
        tags = _get(server + "data/plugin/scalars/tags")
        if len(tags) == 3 or time.monotonic() > until:
            break
        time.sleep(0.5)
    assert {"batch_size", "learning_rate", "noise_scale", "loss"} <= set(tags["train"])
    assert {"loss", "accuracy"} <= set(tags["validation"])
    points = _get(server + "data/plugin/scalars/scalars?run=train&tag=batch_size")
    assert [(step, value) for _, step, value in points] == [(10, 140), (20, 140), (30, 140)]

    experiment = _get(server + "data/plugin/hparams/experiment?request=%7B%7D")
    names = {info["name"] for info in experiment["hparamInfos"]}
    assert {"arm", "seed", "plan.batch_size", "plan.learning_rate", "model.name"} <= names
    shown = {info["displayName"] or info["name"]["tag"] for info in experiment["metricInfos"]}
    assert shown == {"val_accuracy", "val_loss", "updates", "seconds"}
    points = _get(server + "data/plugin/scalars/scalars?run=examples&tag=against_examples/val_loss")
    assert [step for _, step, _ in points] == [1400, 2800, 4200]
