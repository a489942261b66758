"""Runs cells in a Jupyter kernel, interrupts one, and prints their outputs as JSON lines.

python tests/notebook_script.py FOLDER
"""

import json
import queue
import sys
from pathlib import Path

from jupyter_client.manager import KernelManager

SETUP = """
import keras, lbkeras, numpy as np
x = np.random.default_rng(0).normal(size=(4800, 4)).astype("float32")
def make_model():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model
train = lbkeras.data.Pipeline((x, x.sum(1, keepdims=True)), 10)
phase = dict(first_epoch=0, epochs=8, batch_size=10, learning_rate=0.01, momentum=0.0)
plan = lbkeras.planning.explicit_plan(phases=[phase], num_examples=4800)
"""
CELL = """lbkeras.compare(make_model, train, (x[:600], x[:600].sum(1, keepdims=True)),
                        arms={"a": plan}, seeds=1, workdir="runs")"""


def main(folder: Path) -> None:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    history = folder / "runs/a/seed_0/history.jsonl"

    def under_way():
        return history.exists() and history.read_bytes().count(b"\n") >= 2

    try:
        for code, when in ((SETUP, None), (CELL, under_way), (CELL, None), ("plan.of(1)", None)):
            _print(_run(manager, client, code, when))
        _print(_run(manager, client, "lbkeras.data.Pipeline((x, x), 0)"))
    finally:
        manager.shutdown_kernel(now=True)


def _run(manager, client, code: str, interrupt_when=None) -> list:
    message, shown = client.execute(code), []
    while True:
        if interrupt_when is not None and interrupt_when():
            manager.interrupt_kernel()
            interrupt_when = None
        try:
            answer = client.get_iopub_msg(timeout=0.05)
        except queue.Empty:
            continue
        if answer["parent_header"].get("msg_id") != message:
            continue
        kind, content = answer["msg_type"], answer["content"]
        if kind == "stream":
            shown.append([content["name"], content["text"]])
        elif kind == "error":
            shown.append([content["ename"], "\n".join(content["traceback"])])
        elif kind in ("execute_result", "display_data"):
            shown.append([kind, content["data"]])
        elif kind == "status" and content["execution_state"] == "idle":
            return shown


def _print(shown: list) -> None:
    print(json.dumps(shown), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
