import pytest
import tensorflow as tf

from lbkeras import distribution
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
