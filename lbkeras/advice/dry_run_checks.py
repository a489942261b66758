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
    rate = tf.function(lambda: tf.convert_to_tensor(optimizer.learning_rate))
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
    from lbkeras.callbacks.checkpoint_contents import array_of, variables_of

    checkpoint.set_model(model)
    checkpoint.directory.mkdir(parents=True, exist_ok=True)
    before = {name: array_of(variable) for name, variable in variables_of(model).items()}
    path = checkpoint.save(epoch, step)
    for variable in variables_of(model).values():
        variable.assign(np.zeros(variable.shape, before["optimizer/0"].dtype))
    resumed.set_model(model)
    place = resumed.restore(model)
    resumed.on_epoch_begin(place)
    for name, variable in variables_of(model).items():
        if array_of(variable).tobytes() != before[name].tobytes():
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


def check_order(pipeline, again, epoch: int, first: int, rows: int) -> None:
    """Reads the same examples of an epoch twice, and the last of them alone.

    Args:
        pipeline: training data.
        again: the same, made anew, as after a resume.
        epoch: whose order.
        first: the place of the first example, a multiple of `rows`.
        rows: how many.

    Raises:
        UserError: they are not the same.
    """
    import tensorflow as tf

    def read(data, size, place):
        batches = data.copy(batch_size=size).dataset(epoch, place // size)
        return tf.nest.flatten(next(iter(batches.take(1))))

    one, other = read(pipeline, rows, first), read(again, rows, first)
    alone = read(again, 1, first + rows - 1)
    same = all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    # Of x, `augment` draws by the batch.
    same = same and all(
        np.array_equal(a[-1:], b) for a, b in list(zip(one, alone, strict=True))[1:]
    )
    if not same:
        raise UserError(
            f"data: expected examples {first:,} to {first + rows - 1:,} of epoch {epoch + 1} to be "
            "the same when they are read again, received others"
        )
