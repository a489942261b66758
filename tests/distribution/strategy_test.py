import pytest
import tensorflow as tf

from lbkeras import distribution
from lbkeras.distribution import Cluster
from lbkeras.errors import UserError

no_gpu = pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="logical CPUs are used without a GPU only"
)


def test_one_device():
    strategy = distribution.strategy("one")
    assert strategy.num_replicas_in_sync == 1
    assert strategy is tf.distribute.get_strategy()


@no_gpu
def test_auto_is_one_device_without_gpus():
    assert distribution.strategy().num_replicas_in_sync == 1
    assert not isinstance(distribution.strategy("auto"), tf.distribute.MirroredStrategy)


@no_gpu
def test_mirrored_takes_all_logical_cpus(mirrored):
    """The session's strategy is `distribution.strategy("mirrored")`."""
    assert isinstance(mirrored, tf.distribute.MirroredStrategy)
    assert mirrored.num_replicas_in_sync == 2
    assert [device[-5:] for device in mirrored.extended.worker_devices] == ["CPU:0", "CPU:1"]


@no_gpu
def test_describe(mirrored):
    assert distribution.describe(distribution.strategy("one")) == "one device (CPU)"
    assert distribution.describe(mirrored) == "mirrored over 2 CPUs"


@no_gpu
def test_auto_takes_the_workers_of_tf_config(monkeypatch, mirrored):
    """TensorFlow has already started here, which is too late for several workers."""
    monkeypatch.setenv("TF_CONFIG", Cluster(("localhost:1", "localhost:2"), 1).tf_config())
    for name in ("auto", "multi_worker"):
        with pytest.raises(UserError, match="strategy: expected 'multi_worker' to be made before"):
            distribution.strategy(name)


def test_multi_worker_without_workers(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError, match="TF_CONFIG: expected the workers' addresses .* none"):
        distribution.strategy("multi_worker")


def test_no_tpu(monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    monkeypatch.delenv("COLAB_TPU_ADDR", raising=False)
    with pytest.raises(UserError, match="strategy: expected a TPU for 'tpu' .* received none"):
        distribution.strategy("tpu")


@pytest.mark.parametrize(
    "name, message",
    [
        ("miror", r"one of auto, one, mirrored.*, received 'miror' \(did you mean 'mirrored'\?\)"),
        ("", "received ''$"),
        (None, "received None"),
    ],
)
def test_unknown_name(name, message):
    with pytest.raises(UserError, match=f"strategy: expected .*{message}"):
        distribution.strategy(name)
