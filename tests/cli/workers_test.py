"""The flags for several workers: what is refused before TensorFlow starts a server."""

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
        (["--worker_index=1"], "--workers: expected HOST:PORT,... with --worker_index=1, "
         "received none"),
        (["--workers=a:1,b:2"], "--worker_index: expected this process's place in --workers, from "
         "0, received none"),
        (["--workers=a:1,b:2", "--worker_index=0", "--strategy=mirrored"], "--strategy: expected "
         "multi_worker with --workers, received mirrored"),
        (["--workers=a:1,b:2", "--worker_index=2"], "worker_index: expected 0 to 1 (there are 2 "
         "workers), received 2"),
        (["--workers=a:1,b", "--worker_index=1"], "workers: expected host:port with a port of 1 to "
         "65535, received 'b'"),
        (["--worker_index=-1"], "--worker_index: expected a whole number of at least 0, received "
         "'-1'"),
        (["--workers=0.0.0.0:1,b:2", "--worker_index=1"], "workers: expected an address that other "
         "workers can connect to, received '0.0.0.0:1'"),
        (["--token_file=t"], "--workers: expected HOST:PORT,... with --token_file=t, received "
         "none"),
        (["--worker_timeout=4"], "--worker_timeout: expected a whole number from 5 to 86400, "
         "received '4'"),
        (["--worker_timeout=inf"], "--worker_timeout: expected a whole number from 5 to 86400, "
         "received 'inf'"),
        (["--worker_timeout=86401"], "--worker_timeout: expected a whole number from 5 to 86400, "
         "received '86401'"),
        (["--num_logical_devices=0"], "--num_logical_devices: expected a whole number of at least "
         "1, received '0'"),
        (["--micro_batch_size=-1"], "--micro_batch_size: expected a whole number of at least 0, "
         "received '-1'"),
        (["--strategy=mirored"], "--strategy: expected one of auto, one, mirrored, multi_worker, "
         "tpu, received 'mirored' (did you mean 'mirrored'?)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["train", "replicate"])
def test_flags_that_contradict_each_other(command, flags, expected, smith, fails, tmp_path):
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


@pytest.mark.parametrize(
    ("content", "variable", "expected"),
    [
        (None, None, "--token_file=FILE: expected a text file, received: No such file or "
         "directory"),
        (b"\xff\xfe secret of two", None, "--token_file=FILE: expected a text file, received "
         "bytes"),
        (b" a secret\n", None, "--token_file=FILE: expected a secret of at least 16 characters, "
         "received 8"),
        (b"a secret of all workers", "another secret of all", "--token_file: expected this "
         "or LBKERAS_TOKEN, received both"),
        ("none", "", "LBKERAS_TOKEN: expected a secret of at least 16 characters, received 0"),
    ],
)  # fmt: skip
def test_tokens_that_are_not_usable(
    content, variable, expected, smith, fails, tmp_path, monkeypatch
):
    file = tmp_path / "token"
    if isinstance(content, bytes):
        file.write_bytes(content)
    if variable is not None:
        monkeypatch.setenv("LBKERAS_TOKEN", variable)
    flags = [f"--workdir={tmp_path / 'run'}", "--workers=a:1,b:2", "--worker_index=0"]
    flags += [] if content == "none" else [f"--token_file={file}"]
    message = fails("train", f"--config={smith}", *flags)
    assert message == expected.replace("FILE", str(file))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("from_file", [True, False])
def test_the_token_is_one_line_from_a_file_or_the_environment(from_file, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("a secret of all workers\n")
    monkeypatch.delenv("LBKERAS_TOKEN", raising=False)
    assert workers._token(None) == ""
    if not from_file:
        monkeypatch.setenv("LBKERAS_TOKEN", "a secret of all workers")
    file = str(tmp_path / "token") if from_file else None
    assert workers._token(file) == "a secret of all workers"


def test_an_unreachable_worker_after_the_stated_time(tiny, fails, tmp_path, port, monkeypatch):
    monkeypatch.setattr(workers, "_LEAST_SECONDS", 1)
    message = fails(
        "train", *tiny, f"--workdir={tmp_path / 'run'}", f"--workers=localhost:{port},localhost:1",
        "--worker_index=0", "--worker_timeout=1",
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
    assert "--workers=10.0.0.1:2222,10.0.0.2:2222 \\\n      --worker_index=0" in text


def test_one_process_meets_nobody():
    flags = SimpleNamespace(
        workers=None, worker_index=None, strategy="one", num_logical_devices=1, memory_limit_mb=0,
        token_file=None,
    )  # fmt: skip
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
def test_what_auto_chooses(
    strategy, workers, num_logical_devices, tf_config, expected, monkeypatch
):
    monkeypatch.setenv("TF_CONFIG", tf_config)
    flags = SimpleNamespace(
        strategy=strategy, workers=workers, num_logical_devices=num_logical_devices
    )
    assert strategy_name(flags) == expected
