"""The `tf.distribute` strategies by name, for Keras' TensorFlow backend."""

import functools
import glob
import os

import tensorflow as tf

from lbkeras.distribution.cluster import present_cluster, worker_index
from lbkeras.errors import UserError
from lbkeras.keras_internals.patches import patch_keras


def strategy(name: str) -> tf.distribute.Strategy:
    """Makes the strategy for `lbkeras.distribution.strategy`, which has checked the name."""
    made = _MAKERS[_automatic() if name == "auto" else name]()
    if made.num_replicas_in_sync > 1:
        patch_keras()
    return made


def describe(strategy: tf.distribute.Strategy) -> str:
    """Returns the devices of a strategy as text: "mirrored over 2 CPUs"."""
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return f"tpu, {strategy.num_replicas_in_sync} cores"
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        devices = strategy.extended.worker_devices
        workers = strategy.num_replicas_in_sync // len(devices)
        local = f"{_number(devices)} each, this is worker {worker_index()}"
        return f"multi_worker, {workers} worker{'s' if workers > 1 else ''} with {local}"
    if isinstance(strategy, tf.distribute.MirroredStrategy):
        return f"mirrored over {_number(strategy.extended.worker_devices)}"
    return f"one device ({'GPU' if tf.config.list_logical_devices('GPU') else 'CPU'})"


def _number(devices) -> str:
    kind = "GPU" if all("GPU" in device for device in devices) else "CPU"
    return f"{len(devices)} {kind}{'s' if len(devices) > 1 else ''}"


def _automatic() -> str:
    cluster = present_cluster()
    if cluster is not None and cluster.num_workers > 1:
        return "multi_worker"
    if _tpu_is_configured():
        return "tpu"
    return "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "one"


def _one() -> tf.distribute.Strategy:
    return tf.distribute.get_strategy()


def _mirrored() -> tf.distribute.Strategy:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return _mirrored_over(tuple(device.name for device in devices))


@functools.cache
def _mirrored_over(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """Makes one object per process, as a second one on the same logical CPUs breaks."""
    return tf.distribute.MirroredStrategy(list(devices))


@functools.cache
def _multi_worker() -> tf.distribute.Strategy:
    """Makes one object per process, as its collectives are counted."""
    cluster = present_cluster()
    if cluster is None:
        raise UserError(
            "TF_CONFIG: expected the workers' addresses for strategy 'multi_worker', received "
            "none (--workers=host:port,host:port and --worker_index=0 set it)"
        )
    address = cluster.workers[cluster.worker_index]
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise UserError(
            "strategy: expected 'multi_worker' to be made before any other TensorFlow operation, "
            "received it after one"
        ) from None
    except tf.errors.UnknownError as error:  # from the gRPC server
        raise UserError(
            f"TF_CONFIG: expected an address that this process can use for worker "
            f"{cluster.worker_index}, received {address} ({_first_line(error)})"
        ) from None


@functools.cache
def _tpu() -> tf.distribute.Strategy:
    """Makes a TPU strategy. Written from TensorFlow's documentation; not tested by us."""
    if not _tpu_is_configured():
        raise UserError(
            "strategy: expected a TPU for 'tpu' (a TPU VM, or its name in TPU_NAME), received none"
        )
    name = os.environ.get("TPU_NAME") or os.environ.get("COLAB_TPU_ADDR") or "local"
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ImportError, OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"strategy: expected the TPU {name!r} to answer, received: {_first_line(error)}"
        ) from None
    return tf.distribute.TPUStrategy(resolver)


def _tpu_is_configured() -> bool:
    """Whether a TPU is configured. Does not ask the network, which takes minutes without one."""
    named = os.environ.get("TPU_NAME") or os.environ.get("COLAB_TPU_ADDR")
    return bool(named or glob.glob("/dev/accel*"))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_MAKERS = {"one": _one, "mirrored": _mirrored, "multi_worker": _multi_worker, "tpu": _tpu}
