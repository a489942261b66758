"""`lbkeras train` as two real processes on this machine: the same weights, signals, kills."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.forked import Forked
from tests.ports import reserve_addresses

ROOT = Path(__file__).parents[2]
SMITH = f"--config={ROOT}/configs/papers/smith2018.py:digits"
GROWN = (SMITH, "--arm=increased_learning_rate", "--config.plan.epochs=4",
         "--config.plan.boundaries=(1,2,3)", "--config.train.steps_per_execution=1")  # fmt: skip

pytestmark = pytest.mark.slow


class _Workers:
    """Starts one command as several workers, and kills them all at the end."""

    def __init__(self):
        self.processes = []

    def start(self, *command, own=((), ()), tf_config=False, started=False):
        """Starts the processes of a command; `own` are further flags of each one.

        They are forked, unless `started` gives each its own interpreter.
        """
        addresses = reserve_addresses(len(own))
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # so that the output is what a user sees
        processes = []
        for index, flags in enumerate(own):
            place = (f"--workers={','.join(addresses)}", f"--worker_index={index}")
            if tf_config:
                place = ()
                task = {"type": "worker", "index": index}
                config = {"cluster": {"worker": addresses}, "task": task}
                environment["TF_CONFIG"] = json.dumps(config)
            start = _start if started else Forked
            processes.append(start(*command, *place, *flags, environment=environment))
        self.processes += processes
        return processes, addresses

    def end(self):
        for process in self.processes:
            process.kill()
            process.communicate()


def _start(*command, environment):
    return subprocess.Popen(
        [sys.executable, "-m", "lbkeras", *map(str, command)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def workers():
    running = _Workers()
    yield running
    running.end()


def _finish(processes, seconds=180):
    """Returns each process' status, output and error."""
    said = [process.communicate(timeout=seconds) for process in processes]
    return [(p.returncode, *each) for p, each in zip(processes, said, strict=True)]


def _wait_for(processes, folder, pattern, seconds=120):
    """Waits until the folder has such a file: with a checkpoint, the second epoch has begun."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and all(p.poll() is None for p in processes):
        if list(folder.glob(pattern)):
            return
        time.sleep(0.02)
    raise AssertionError(f"no {pattern}: {_finish(processes, 1)}")


def _weights(folder):
    import keras

    return keras.models.load_model(folder / "model.keras", compile=False).get_weights()


def _assert_close(one, other, tolerance):
    for a, b in zip(_weights(one), _weights(other), strict=True):
        assert np.max(np.abs(a - b)) <= tolerance * np.max(np.abs(b))


def _record(folder):
    return json.loads((folder / "record.json").read_text())


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """The folder of a run of GROWN by one process."""
    folder = tmp_path_factory.mktemp("one") / "run"
    run = Forked("train", *GROWN, f"--workdir={folder}")
    assert run.wait(180) == 0, run.communicate()
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder and the output of an undisturbed run of GROWN by two workers."""
    folder = tmp_path_factory.mktemp("two") / "run"
    running = _Workers()
    try:
        processes, _ = running.start("train", *GROWN, f"--workdir={folder}", started=True)
        return folder, _finish(processes)
    finally:
        running.end()


def test_two_workers_train_to_the_weights_of_one_process(undisturbed, one_process):
    folder, ((status, output, error), second) = undisturbed
    assert (status, error) == (0, "")
    assert second == (0, "", "")
    assert output.startswith("strategy: multi_worker, 2 workers with 1 CPU each")
    _assert_close(folder, one_process, 1e-5)
    record = _record(folder)
    assert (record["status"], record["workers"], record["replicas"]) == ("finished", 2, 2)
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {path.name for path in one_process.rglob("*.json*")} <= files
    rows, expected = (
        [json.loads(line) for line in (each / "history.jsonl").read_text().splitlines()]
        for each in (folder, one_process)
    )
    for name in ("batch_size", "updates", "loss", "accuracy", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(
            [row[name] for row in rows], [row[name] for row in expected], rtol=1e-5
        )


@pytest.mark.release  # the gate runs tests/distribution/workers_test.py and kills one process
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_ends_the_other_and_both_resume(victim, workers, undisturbed, tmp_path):
    command = ("train", *GROWN, f"--workdir={tmp_path / 'run'}")
    processes, addresses = workers.start(*command)
    _wait_for(processes, tmp_path / "run", "checkpoints/update_*.npz")
    processes[victim].kill()
    begin = time.monotonic()
    status, _, error = _finish(processes)[1 - victim]
    assert time.monotonic() - begin < 30
    assert (status, error) == (2, (
        f"lbkeras: error: worker {victim} ({addresses[victim]}) stopped; run the same command "
        "again on every worker to resume from the last checkpoint\n"
    ))  # fmt: skip

    processes, _ = workers.start(*command)
    first, second = _finish(processes)
    assert (first[0], first[2]) == (0, "") and second == (0, "", "")
    assert "resuming at epoch" in first[1]
    assert (_record(tmp_path / "run")["status"], _record(tmp_path / "run")["sessions"]) == (
        "finished", 2
    )  # fmt: skip
    _assert_close(tmp_path / "run", undisturbed[0], 1e-6)


@pytest.mark.release  # in the gate, tests/distribution/workers_test.py covers this
@pytest.mark.parametrize("victim", [0, 1])
def test_a_stopped_worker_ends_the_other_and_both_resume(victim, workers, undisturbed, tmp_path):
    (tmp_path / "token").write_text("a secret of both workers\n")
    command = ("train", *GROWN, f"--workdir={tmp_path / 'run'}", "--worker_timeout=5",
               f"--token_file={tmp_path / 'token'}")  # fmt: skip
    processes, addresses = workers.start(*command)
    _wait_for(processes, tmp_path / "run", "checkpoints/update_*.npz")
    processes[victim].send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    status, _, error = _finish([processes[1 - victim]])[0]
    assert 4 < time.monotonic() - begin < 15
    assert (status, error) == (2, (
        f"lbkeras: error: worker {victim} ({addresses[victim]}) sent no heartbeat for 5 s; kill "
        "it if it still exists, and run the same command again on every worker to resume from the "
        "last checkpoint\n"
    ))  # fmt: skip
    processes[victim].send_signal(signal.SIGCONT)  # it learns that the other has ended
    assert _finish([processes[victim]], 20)[0][::2] == (2, error)

    first, second = _finish(workers.start(*command)[0])
    assert (first[0], first[2]) == (0, "") and second == (0, "", "")
    assert "resuming at epoch" in first[1]
    assert _record(tmp_path / "run")["sessions"] == 2
    _assert_close(tmp_path / "run", undisturbed[0], 1e-6)


@pytest.mark.release
@pytest.mark.parametrize("victim", [0, 1])
def test_a_worker_that_pauses_harms_nobody(victim, workers, undisturbed, tmp_path):
    """The pause is longer than TensorFlow's own heartbeat would allow."""
    processes, _ = workers.start("train", *GROWN, f"--workdir={tmp_path / 'run'}")
    _wait_for(processes, tmp_path / "run", "checkpoints/update_*.npz")
    processes[victim].send_signal(signal.SIGSTOP)
    time.sleep(30)
    processes[victim].send_signal(signal.SIGCONT)
    first, second = _finish(processes)
    assert (first[0], first[2]) == (0, "") and second == (0, "", "")
    assert _record(tmp_path / "run")["sessions"] == 1
    _assert_close(tmp_path / "run", undisturbed[0], 1e-6)


# In the gate, test_a_killed_worker_ends_the_other_and_both_resume covers resuming, and
# tests/distribution/agreement_test.py covers stopping at the same update.
@pytest.mark.release
def test_sigterm_to_one_worker_saves_and_stops_both(workers, tmp_path):
    flags = ("--config.plan.batch_size=4", f"--workdir={tmp_path / 'run'}")  # long epochs
    command = ("train", *GROWN, *flags)
    processes, _ = workers.start(*command)
    _wait_for(processes, tmp_path / "run", "checkpoints/update_*.npz")
    processes[1].send_signal(signal.SIGTERM)
    for index, (status, _, error) in enumerate(_finish(processes)):
        assert status == 143
        assert error.count("\n") == 1
        assert "interrupted by SIGTERM, checkpoint saved; to resume, run the same" in error
        assert f"--worker_index={index}" in error
    assert _record(tmp_path / "run")["status"] == "interrupted"
    first, second = _finish(workers.start(*command, tf_config=True)[0])
    assert (first[0], first[2]) == (0, "") and second == (0, "", "")
    assert "resuming at epoch" in first[1]


def test_all_workers_say_what_stops_one_of_them(workers, tmp_path):
    own = (["--config.plan.momentum=0.8"], [])
    processes, addresses = workers.start("train", *GROWN, f"--workdir={tmp_path}/a", own=own)
    expected = (
        f"lbkeras: error: worker 1 ({addresses[1]}): expected the config of worker 0 "
        "(plan.momentum=0.8), received plan.momentum=0.9\n"
    )
    assert _finish(processes) == [(2, "", expected)] * 2

    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.json").write_text('{"seed": 1}')
    processes, addresses = workers.start("train", *GROWN, f"--workdir={tmp_path}/b")
    first, second = _finish(processes)
    assert first[0] == second[0] == 2
    reason = first[2].removeprefix("lbkeras: error: ")
    assert reason.startswith(f"workdir {tmp_path}/b: expected the config it was started with")
    assert second[2] == f"lbkeras: error: worker 0 ({addresses[0]}) stopped: {reason}"


def test_a_checkpoint_that_a_worker_cannot_see(workers, undisturbed, tmp_path):
    shutil.copytree(undisturbed[0], tmp_path / "run")
    record = _record(tmp_path / "run") | {"status": "interrupted"}
    (tmp_path / "run" / "record.json").write_text(json.dumps(record))
    own = ([f"--workdir={tmp_path / 'run'}"], [f"--workdir={tmp_path / 'elsewhere'}"])
    processes, _ = workers.start("train", *GROWN, own=own)
    for status, _, error in _finish(processes):
        assert status == 2 and error.count("\n") == 1, error
        assert "expected a folder on a file system that all workers share" in error


def test_a_batch_that_the_workers_do_not_divide(workers, tmp_path):
    flags = ("--arm=original", "--config.plan.batch_size=5", f"--workdir={tmp_path / 'run'}")
    processes, _ = workers.start("train", SMITH, *flags)
    for status, _, error in _finish(processes):
        assert status == 2 and error.count("\n") == 1, error
        assert "expected a multiple of the 2 replicas, received 5; the nearest are 4 and 6" in error
    assert not (tmp_path / "run" / "config.json").exists()


_TWO_ARMS = """
from configs.papers.smith2018 import PAPER, get_config as all_arms

def get_config():
    config = all_arms("digits")
    for arm in list(config.arms)[2:]:
        del config.arms[arm]
    return config

def get_claims(variant=""):
    return []
"""


@pytest.mark.release
def test_replicate_with_two_workers(workers, tmp_path):
    (tmp_path / "two_arms.py").write_text(_TWO_ARMS)
    flags = ("--seeds=1", "--config.plan.epochs=2", "--config.plan.boundaries=(1,)")
    config = f"--config={tmp_path / 'two_arms.py'}"
    command = ("replicate", config, *flags, f"--workdir={tmp_path / 'all'}")
    first, second = _finish(workers.start(*command)[0], 280)
    assert (first[0], first[2]) == (0, ""), first
    assert second == (0, "", "")
    report = json.loads((tmp_path / "all" / "report.json").read_text())
    assert len(report["arms"]) == 2
    assert _record(tmp_path / "all" / "original" / "seed_10")["workers"] == 2
