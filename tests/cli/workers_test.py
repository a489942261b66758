"""The flags of several workers: what is refused before TensorFlow starts a server."""

import json
import socket
from types import SimpleNamespace

import pytest

from lbkeras.cli import workers
from lbkeras.cli.main import main
from lbkeras.cli.train import strategy_name
from tests.ports import reserve_addresses


@pytest.fixture
def port():
    """A free port."""
    return reserve_addresses(1)[0].split(":")[1]


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "")  # and what a command sets there is taken back


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--worker_index=1"], "--workers: expected HOST:PORT,... beside --worker_index=1, "
         "received none"),
        (["--workers=a:1,b:2"], "--worker_index: expected this process's place in --workers, from "
         "0, received none"),
        (["--workers=a:1,b:2", "--worker_index=0", "--strategy=mirrored"], "--strategy: expected "
         "multi_worker beside --workers, received mirrored"),
        (["--workers=a:1,b:2", "--worker_index=2"], "worker_index: expected 0 to 1 (there are 2 "
         "workers), received 2"),
        (["--workers=a:1,b", "--worker_index=1"], "workers: expected host:port with a port of 1 to "
         "65535, received 'b'"),
        (["--worker_index=-1"], "--worker_index: expected a whole number of at least 0, received "
         "'-1'"),
        (["--num_logical_devices=0"], "--num_logical_devices: expected a whole number of at least "
         "1, received '0'"),
        (["--micro_batch_size=-1"], "--micro_batch_size: expected a whole number of at least 0, "
         "received '-1'"),
        (["--strategy=mirored"], "--strategy: expected one of auto, one, mirrored, multi_worker, "
         "tpu, received 'mirored' (did you mean 'mirrored'?)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["train", "replicate"])
def test_flags_that_do_not_go_together(command, flags, expected, smith, fails, tmp_path):
    run = tmp_path / "run"
    assert fails(command, f"--config={smith}", f"--workdir={run}", *flags) == expected
    assert not run.exists()


def test_a_malformed_tf_config(tiny, fails, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": ')
    assert fails("train", *tiny, f"--workdir={tmp_path / 'run'}").startswith(
        "TF_CONFIG: expected JSON, received "
    )


def test_several_workers_without_addresses(tiny, fails, tmp_path):
    message = fails("train", *tiny, f"--workdir={tmp_path / 'run'}", "--strategy=multi_worker")
    assert message.startswith("TF_CONFIG: expected the workers' addresses for strategy 'multi_w")
    assert "--workers=host:port" in message


def test_an_unreachable_worker_after_the_stated_time(tiny, fails, tmp_path, port):
    message = fails(
        "train", *tiny, f"--workdir={tmp_path / 'run'}", f"--workers=localhost:{port},localhost:1",
        "--worker_index=0", "--worker_timeout_seconds=1",
    )  # fmt: skip
    assert message.startswith(
        f"worker 1 (localhost:1): expected to connect to worker 0 (localhost:{port}) within 1 s"
    )
    assert not (tmp_path / "run").exists()


def test_an_address_in_use_by_tf_config(tiny, fails, tmp_path, monkeypatch):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        cluster = {"worker": [f"localhost:{port}", "localhost:1"]}
        config = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        message = fails("train", *tiny, f"--workdir={tmp_path / 'run'}")
    assert message == (
        f"worker 0 (localhost:{port}): expected a port that is free on this machine, received: "
        "Address already in use"
    )


@pytest.mark.parametrize("command", ["train", "replicate"])
def test_help_teaches_replicas_and_machines(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--strategy=mirrored --num_logical_devices=2" in text
    assert "--workers=10.0.0.1:2222,10.0.0.2:2222 --worker_index=0" in text


def test_one_process_meets_nobody():
    flags = SimpleNamespace(
        workers=None, worker_index=None, strategy="one", num_logical_devices=1, memory_limit_mb=0
    )
    with workers.workers_met(flags, {}) as met:
        assert met is None


def test_settings_are_compared_by_their_full_names():
    settings = {"seed": 1, "plan": {"name": "steps_plan", "boundaries": [1, 2]}}
    assert workers._flat(settings) == {
        "seed": 1,
        "plan.name": "steps_plan",
        "plan.boundaries": [1, 2],
    }


@pytest.mark.parametrize(
    ("strategy", "workers", "num_logical_devices", "tf_config", "expected"),
    [
        ("auto", None, 1, "", "auto"),
        ("auto", None, 2, "", "mirrored"),
        ("one", None, 2, "", "one"),
        ("auto", None, 2, '{"cluster": {}}', "auto"),
        ("auto", "a:1,b:2", 2, "", "multi_worker"),
    ],
)
def test_what_auto_takes(strategy, workers, num_logical_devices, tf_config, expected, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config)
    flags = SimpleNamespace(
        strategy=strategy, workers=workers, num_logical_devices=num_logical_devices
    )
    assert strategy_name(flags) == expected
