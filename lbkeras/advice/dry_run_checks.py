"""What a dry run holds against a plan: the schedule in the graph, a checkpoint, the order."""

import math

import numpy as np

from lbkeras.errors import UserError

_FLOAT32 = 1e-5  # relative: the graph computes in float32


def check_schedule(model, plan, phase, scheduler, rates: bool) -> None:
    """Compares a phase's first and last update in the graph with the plan's arithmetic.

    The optimizer's `iterations` are set to each of the two updates and are afterwards those of the
    first; the epoch is announced as in training, which sets batch size and momentum.

    Args:
        model: compiled with the plan's optimizer.
        plan: a Plan.
        phase: of the plan.
        scheduler: a `BatchSizeScheduler` of the plan, whose `set_model` was called.
        rates: whether the learning rate is the plan's, which no callback sets.

    Raises:
        UserError: batch size, momentum or learning rate is another one.
    """
    import tensorflow as tf

    from lbkeras.callbacks.optimizer_settings import base_optimizer, get_momentum

    optimizer = base_optimizer(model.optimizer)
    first, last = (
        plan.first_update(phase.first_epoch),
        plan.first_update(phase.first_epoch + phase.epochs) - 1,
    )
    optimizer.iterations.assign(first)
    scheduler.on_epoch_begin(phase.first_epoch)
    _compare("batch size", scheduler.pipeline.batch_size, phase.batch_size, first)
    momentum = get_momentum(optimizer)
    if momentum is not None:
        _compare("momentum", momentum, phase.momentum, first)
    rate = tf.function(lambda: tf.convert_to_tensor(optimizer.learning_rate), autograph=False)
    steps = plan.steps_per_epoch(phase.first_epoch)
    for update in (last, first) if rates else ():
        optimizer.iterations.assign(update)
        epoch = phase.first_epoch + (update - first) / steps
        _compare("learning rate", float(rate()), plan.learning_rate(epoch), update)


def _compare(what: str, received: float, planned: float, update: int) -> None:
    if not math.isclose(received, planned, rel_tol=_FLOAT32, abs_tol=1e-12):
        raise UserError(
            f"{what}: expected the plan's {planned:.8g} at update {update:,}, received "
            f"{received:.8g} in the graph"
        )


def check_checkpoint(model, checkpoint, resumed, epoch: int, step: int) -> int:
    """Writes a checkpoint, spoils all that it holds, restores it, and compares bit for bit.

    Args:
        model: compiled, its optimizer and metrics built.
        checkpoint: that writes, of a training Pipeline with the batch size of `epoch`.
        resumed: that restores, of another one.
        epoch, step: where it resumes.

    Returns:
        The bytes of the file, which is removed.

    Raises:
        UserError: a value or the place is another one.
    """
    import keras

    from lbkeras.callbacks.checkpoint_contents import array_of, variables_of

    checkpoint.set_model(model)
    checkpoint.directory.mkdir(parents=True, exist_ok=True)
    path = checkpoint.save(epoch, step)  # takes the mean of what differs between replicas
    before = {name: array_of(variable) for name, variable in variables_of(model).items()}
    for variable in variables_of(model).values():
        variable.assign(keras.ops.zeros_like(variable))
    resumed.set_model(model)
    place = resumed.restore(model)
    resumed.on_epoch_begin(place)
    for name, variable in variables_of(model).items():
        if not _same_bits(array_of(variable), before[name]):
            raise UserError(f"checkpoint: expected {variable.path} bit for bit, received others")
    pipeline, size = resumed.pipeline, checkpoint.pipeline.batch_size
    received = (pipeline.epoch, pipeline.start_step, pipeline.batch_size)
    if received != (epoch, step, size):
        raise UserError(
            f"checkpoint: expected to resume at epoch, step and batch size {(epoch, step, size)}, "
            f"received {received}"
        )
    size = path.stat().st_size
    path.unlink()
    return size


def _same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    bits = [np.atleast_1d(np.ascontiguousarray(each)).view(np.uint8) for each in (one, other)]
    return np.array_equal(*bits)


def check_order(pipeline, batches, epoch: int, place: int) -> None:
    """Reads the last example of a batch alone, as after a resume there.

    Targets are compared: x may be augmented by the batch.

    Args:
        pipeline: training data that a pass may begin anywhere in.
        batches: of them, in the same epoch.
        epoch: whose order.
        place: that of the first batch's last example.

    Raises:
        UserError: they are not the same.
    """
    import tensorflow as tf

    def targets(batches):
        batch = next(iter(batches))
        return tf.nest.flatten(batch[1:] if isinstance(batch, tuple) else batch)

    resumed = pipeline.copy(batch_size=1).dataset(epoch, place)
    for several, alone in zip(targets(batches), targets(resumed), strict=True):
        if not np.array_equal(several[-1:], alone):
            raise UserError(
                f"data: expected the target {several[-1]} at place {place:,} of epoch {epoch + 1} "
                f"again when it is read alone, received {alone[0]}"
            )
