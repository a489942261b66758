"""What a dry run checks: the schedule in the graph, a checkpoint, the order of the data."""

import math

import numpy as np

from lbkeras.errors import UserError

_FLOAT32 = 1e-5  # relative: the graph computes in float32


def check_schedule(model, plan, phase, scheduler, rates: bool) -> None:
    """Compares a phase's first and last update in the graph with the plan's arithmetic.

    Sets the optimizer's `iterations` to each of the two updates and leaves them at the first. Calls
    the scheduler as at the start of the epoch, which sets batch size and momentum.

    Args:
        model: compiled with the plan's optimizer.
        plan: a Plan.
        phase: a phase of the plan.
        scheduler: a `BatchSizeScheduler` of the plan, whose `set_model` was called.
        rates: whether to compare the learning rate; False if a callback sets it.

    Raises:
        UserError: batch size, momentum or learning rate differs from the plan's.
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
    """Writes a checkpoint, sets the variables to 0, restores them, and compares bit for bit.

    Args:
        model: compiled, with optimizer and metrics built.
        checkpoint: the `Checkpoint` that writes, of a training Pipeline with the batch size of
            `epoch`.
        resumed: the `Checkpoint` that restores, of another Pipeline.
        epoch, step: where training resumes.

    Returns:
        The size of the file in bytes; the file is removed.

    Raises:
        UserError: a value, the epoch, the step or the batch size differs.
    """
    import keras

    from lbkeras.callbacks.checkpoint_contents import array_of, variables_of

    checkpoint.set_model(model)
    checkpoint.directory.mkdir(parents=True, exist_ok=True)
    path = checkpoint.save(epoch, step)  # averages values that differ between replicas
    before = {name: array_of(variable) for name, variable in variables_of(model).items()}
    for variable in variables_of(model).values():
        variable.assign(keras.ops.zeros_like(variable))
    resumed.set_model(model)
    place = resumed.restore(model)
    resumed.on_epoch_begin(place)
    for name, variable in variables_of(model).items():
        if not _same_bits(array_of(variable), before[name]):
            raise UserError(f"checkpoint: expected {variable.path} bit for bit, received changes")
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
    """Checks that the last example of a batch is read again by a pass that resumes there.

    Only targets are compared, as the augmentation of x may depend on the batch.

    Args:
        pipeline: training data with `begins_anywhere`.
        batches: batches of `pipeline` in that epoch.
        epoch: the epoch.
        place: position of the first batch's last example in the epoch's order.

    Raises:
        UserError: the targets differ.
    """
    import tensorflow as tf

    def targets(batches):
        batch = next(iter(batches))
        return tf.nest.flatten(batch[1:] if isinstance(batch, tuple) else batch)

    resumed = pipeline.copy(batch_size=1).dataset(epoch, place)
    for several, alone in zip(targets(batches), targets(resumed), strict=True):
        if not np.array_equal(several[-1:], alone):
            raise UserError(
                f"data: expected the target {several[-1]} at position {place:,} of epoch "
                f"{epoch + 1} again when read alone, received {alone[0]}"
            )
