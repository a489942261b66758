"""What a dry run found missing on this machine, in one line each."""

import shutil
from pathlib import Path

from lbkeras import devices
from lbkeras.advice.memory import has_gpu
from lbkeras.config import is_own
from lbkeras.errors import UserError

_BATCHES_ON_THEIR_WAY = 6  # one in training, one being made, and those that a Pipeline prefetches


def missing(
    result, tasks: dict, folder: Path, micro_batch_size: int = 0, num_workers: int = 1
) -> list[str]:
    """Returns what training these arms here would lack, in one line each.

    Args:
        result: a `DryRun`.
        tasks: a `ConfigTask` for each arm's name.
        folder: where the run's folder would be.
        micro_batch_size: the user's `--micro_batch_size`; 0: none.
        num_workers: workers that train together.
    """
    lines = [*_data(tasks), *_memory(result, micro_batch_size)]
    largest = max((arm.file_bytes for arm in result.arms.values()), default=0)
    needed = largest / 3 * 4  # a new checkpoint is written before the older one is deleted
    free = _free_bytes(folder)
    if needed > free:
        lines.append(f"disk: the files of one run need {needed / 1e9:,.1f} GB, {folder} has "
                     f"{free / 1e9:,.1f} GB free")  # fmt: skip
    if not has_gpu():
        lines.append("GPU: none" + (", so the times are for this CPU" if result.arms else ""))
    if num_workers > 1:
        lines.append(
            f"workers: the other {num_workers - 1} were not tried; times exclude communication"
        )
    return lines


def _data(tasks: dict) -> list[str]:
    from lbkeras.data.load import describe

    lines = []
    sets = {(task.settings["data"]["name"], task.data_dir) for task in tasks.values()}
    for name, data_dir in sorted(sets, key=str):
        if is_own(name):
            continue
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
            f"memory: not enough for more than {min(cut):,} examples at once; train with "
            f"--micro_batch_size={min(cut)}"
        )
    needed, free = _BATCHES_ON_THEIR_WAY * result.batch_bytes, 1e6 * devices.free_memory_mb()
    if needed > free:
        lines.append(
            f"host memory: {needed / 1e9:,.1f} GB for {_BATCHES_ON_THEIR_WAY} of the "
            f"largest batches in flight, {free / 1e9:,.1f} GB are free"
        )
    return lines


def _free_bytes(folder: Path) -> int:
    present = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(present).free
