"""Changes the state in a checkpoint."""

import json

import numpy as np


def with_state(path, change):
    """Changes the state in a checkpoint and returns it."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    state = json.loads(bytes(arrays.pop("state")))
    change(state)
    np.savez(path, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays)
    return state
