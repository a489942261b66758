import json

import pytest

from lbkeras.distribution import cluster
from lbkeras.distribution.cluster import Cluster, read_tf_config, set_cluster
from lbkeras.errors import UserError

TWO = ["one:2222", "two:2222"]


def tf_config(task=None, **jobs):
    return json.dumps({"cluster": jobs or {"worker": TWO}, "task": task or worker(0)})


def worker(index):
    return {"type": "worker", "index": index}


@pytest.mark.parametrize("index", [0, 1])
def test_reads_what_it_writes(index):
    made = Cluster(TWO, index)
    assert read_tf_config(made.tf_config()) == made
    assert (made.num_workers, made.is_chief) == (2, index == 0)


def test_a_chief_comes_before_the_workers():
    jobs = {"chief": ["zero:2222"], "worker": TWO}
    assert read_tf_config(tf_config(worker(1), **jobs)) == Cluster(["zero:2222", *TWO], 2)
    chief = read_tf_config(tf_config({"type": "chief", "index": 0}, **jobs))
    assert chief.is_chief and chief.num_workers == 3


@pytest.mark.parametrize("text", [None, "", "{}", " "])
def test_without_a_cluster(monkeypatch, text):
    if text is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
    else:
        monkeypatch.setenv("TF_CONFIG", text)
    assert cluster.present_cluster() is None
    assert cluster.worker_index() == 0


def test_set_cluster(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "")
    set_cluster("one:2222, two:2222", 1)
    assert cluster.present_cluster() == Cluster(TWO, 1)
    assert cluster.worker_index() == 1


@pytest.mark.parametrize(
    "workers, index, message",
    [
        ("one:1,two:1", 2, r"worker_index: expected 0 to 1 \(there are 2 workers\), received 2"),
        ("one:1,two:1", -1, "worker_index: expected 0 to 1 .* received -1"),
        ("one:1,two:1", None, "worker_index: expected 0 to 1 .* received None"),
        ("", 0, "workers: expected at least one host:port, received none"),
        ("one", 0, "workers: expected host:port .* received 'one'"),
        ("one:port", 0, "workers: expected host:port .* received 'one:port'"),
        ("one:70000", 0, "port of 1 to 65535, received 'one:70000'"),
        (":2222", 0, "workers: expected host:port .* received ':2222'"),
        ("one:1,one:1", 0, "workers: expected each host:port once, received one:1 twice"),
    ],
)
def test_clusters_that_are_not_usable(monkeypatch, workers, index, message):
    monkeypatch.setenv("TF_CONFIG", "")
    with pytest.raises(UserError, match=message):
        set_cluster(workers, index)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "TF_CONFIG: expected JSON, received '{'"),
        ("[]", 'TF_CONFIG: expected {"cluster": .* received '),
        ('{"task": {}}', 'TF_CONFIG: expected {"cluster": '),
        ('{"cluster": {"worker": 3}}', 'TF_CONFIG: expected {"cluster": '),
        ('{"cluster": {}, "task": {"type": "worker", "index": 0}}', "a cluster with workers"),
        (tf_config({"index": 0}), "a task of type 'worker', received None"),
        (tf_config({"type": "ps", "index": 0}), "a task of type 'worker', received 'ps'"),
        (tf_config(worker(0), worker=TWO, ps=["a:1"]), "expected workers only, received ps"),
        (tf_config(worker(2)), "TF_CONFIG: worker_index: expected 0 to 1 .* received 2"),
        (tf_config({"type": "worker"}), "TF_CONFIG: worker_index: .* received None"),
        (tf_config(worker(0), worker=["one"]), "TF_CONFIG: workers: expected host:port"),
        (tf_config(worker(0), worker=[1]), "TF_CONFIG: workers: expected a list of host:port"),
    ],
)
def test_tf_configs_that_are_not_usable(text, message):
    with pytest.raises(UserError, match=message) as error:
        read_tf_config(text)
    assert "\n" not in str(error.value)
