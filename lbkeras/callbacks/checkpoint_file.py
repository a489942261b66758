"""A checkpoint's file: the state of a run as one .npz with checksums."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from lbkeras.callbacks.callback_state_format_1 import from_format_1
from lbkeras.files import check_format

CHECKPOINT_FORMAT = 2  # of a checkpoint's state
_NAME = r"update_\d{9,}\.npz"


def encoded(state: dict, arrays: dict) -> bytes:
    """Returns an .npz file with the arrays, and the state as JSON; zip adds a CRC-32 to each."""
    raw: dict[str, Any] = {name: _as_numpy_type(array) for name, array in arrays.items()}
    buffer = io.BytesIO()
    np.savez(buffer, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **raw)
    return buffer.getvalue()


def _as_numpy_type(array: np.ndarray) -> np.ndarray:
    """Returns bfloat16 and similar arrays as integers of the same size, which .npz can hold."""
    return array.view(f"u{array.dtype.itemsize}") if array.dtype.kind == "V" else array


def read(path: Path) -> tuple[dict, dict]:
    with np.load(path, allow_pickle=False) as file:
        if damaged := file.zip.testzip():
            raise ValueError(f"{damaged}: wrong checksum")
        state = json.loads(bytes(file["state"]))
        if check_format(path, state, CHECKPOINT_FORMAT) < 2:
            state["callbacks"] = from_format_1(state["callbacks"], file.files)
        _check_form(state)
        dtypes = state["dtypes"]
        return state, {name: file[name].view(np.dtype(dtypes[name])) for name in dtypes}


def _check_form(state: dict) -> None:
    """Raises a ValueError if the state does not have the form that `Checkpoint.save` writes."""
    least = {"epoch": 0, "step": 0, "batch_size": 1}
    whole = all(type(state[name]) is int and state[name] >= least[name] for name in least)
    parts = [part for each in state["callbacks"] for part in (each, each.get("attributes", {}))]
    if not whole or not all(isinstance(each, dict) for each in parts):
        raise ValueError("its state does not have the form of a checkpoint's")


def files_in(directory: Path) -> list[Path]:
    """Returns the checkpoints in order of their updates; ignores copies under other names."""
    named = [each for each in directory.glob("update_*.npz") if re.fullmatch(_NAME, each.name)]
    return sorted(named, key=updates_of)


def updates_of(path: Path) -> int:
    return int(path.stem.removeprefix("update_"))


def path_in(directory: Path, updates: int) -> Path:
    return directory / f"update_{updates:09d}.npz"
