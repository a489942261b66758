"""What a dry run did not find on this machine, a line each."""

import shutil
from pathlib import Path

from lbkeras import devices
from lbkeras.advice.memory import has_gpu
from lbkeras.errors import UserError

_BATCHES_ON_THEIR_WAY = 6  # one that trains, one that is being made, and what a Pipeline prefetches


def missing(
    result, tasks: dict, folder: Path, micro_batch_size: int = 0, num_workers: int = 1
) -> list[str]:
    """What a training of these arms would lack here.

    Args:
        result: a `DryRun`.
        tasks: an arm's name to its `ConfigTask`.
        folder: where the run's folder would be.
        micro_batch_size: that the user gives; 0: none.
        num_workers: that train together.
    """
    lines = [*_data(tasks), *_memory(result, micro_batch_size)]
    largest = max((arm.file_bytes for arm in result.arms.values()), default=0)
    needed = largest / 3 * 4  # a checkpoint is written before an older one goes
    free = _free_bytes(folder)
    if needed > free:
        lines.append(f"disk: {needed / 1e9:,.1f} GB for the files of one run, {folder} has "
                     f"{free / 1e9:,.1f} GB free")  # fmt: skip
    if not has_gpu():
        lines.append("GPU: none, the times are those of this CPU")
    if num_workers > 1:
        lines.append(
            f"workers: the other {num_workers - 1} were not asked; times leave out what they send"
        )
    return lines


def _data(tasks: dict) -> list[str]:
    from lbkeras.data.load import describe

    lines = []
    sets = {(t.settings["data"]["name"], t.data_dir) for t in tasks.values() if t.fake_data}
    for name, data_dir in sorted(sets, key=str):
        try:
            describe(name, data_dir)
        except UserError as error:
            lines.append(f"data: {error}")
    return lines


def _memory(result, micro_batch_size: int) -> list[str]:
    lines = []
    tried = [each for arm in result.arms.values() for each in arm.tried.values()]
    cut = [each.micro_batch_size for each in tried if each.pieces > 1]
    if cut and not micro_batch_size:
        lines.append(
            f"memory: for more than {min(cut):,} examples at once; train with "
            f"--micro_batch_size={min(cut)}"
        )
    needed, free = _BATCHES_ON_THEIR_WAY * result.batch_bytes, 1e6 * devices.free_memory_mb()
    if needed > free:
        lines.append(
            f"memory of the host: {needed / 1e9:,.1f} GB for {_BATCHES_ON_THEIR_WAY} of the "
            f"largest batches on their way, {free / 1e9:,.1f} GB are free"
        )
    return lines


def _free_bytes(folder: Path) -> int:
    present = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(present).free
