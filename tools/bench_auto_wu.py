"""Measures what AutoWU costs in a run on MNIST.

    python tools/bench_auto_wu.py --data_dir=DIR                     about 4 minutes on 2 cores
    python tools/bench_auto_wu.py --data_dir=DIR --rounds=21 --batch_size=2048
    python tools/bench_auto_wu.py --networks --rounds=0              the copies alone, half a minute

It measures three things:

Share: the seconds that a whole run spends in AutoWU's methods, most of them in the Gaussian
process, divided by the seconds of its `fit`; and the same in CPU seconds, which other processes on
the machine do not lengthen. It is measured for the network of
configs/papers/kim2021_autowu.py:mnist with its 60 epochs, and for a small convolutional network
with 20 epochs, each in the paper's form and with `restore=True`.

Ratio: the time of epochs of `fit` in AutoWU's warm-up, divided by that of epochs with the same
learning rates from an ordinary schedule. This includes what AutoWU adds to each update in the
graph. It is the median, with quartiles, over rounds that time both in turn, in alternating order.

Copies of `restore=True`, for ResNet-50 with AdamP: their bytes in memory, and the seconds to make
one, to restore one, and to write a checkpoint with four copies and without.
"""

import argparse
import functools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras  # noqa: E402

from lbkeras import callbacks, data, models, optimizers, planning  # noqa: E402
from lbkeras.callbacks import checkpoint_file  # noqa: E402
from lbkeras.files import write_atomically  # noqa: E402
from lbkeras.methods.auto_wu import epoch_copies  # noqa: E402

EPOCHS = dict(mlp=60, small_cnn=20)
METHODS = (
    "set_model", "on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_epoch_end",
    "on_train_end",
)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", help="folder of prepared TensorFlow Datasets data")
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--networks", nargs="*", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--rounds", type=int, default=15, help="timed pairs of epochs")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    figures = dict(batch_size=arguments.batch_size)
    for network in arguments.networks:
        for form, restore in (("", False), ("_restored", True)):
            figures[network + form] = _share(network, arguments, restore)
            print(_line(network + form, figures[network + form]), flush=True)
    if arguments.rounds:
        figures["ratio"] = _ratio("mlp", arguments)
        low, high = figures["ratio"]["quartiles"]
        print(
            f"mlp, an epoch of warm-up with AutoWU / without: {figures['ratio']['ratio']:.4f} "
            f"(quartiles {low:.4f} to {high:.4f}, {figures['ratio']['pairs']} pairs)"
        )
    figures["copies"] = _copies()
    print(", ".join(f"{name} {value:.3g}" for name, value in figures["copies"].items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def _copies(rounds: int = 3) -> dict:
    """Returns what copies of a large network's state cost."""
    model = models.resnet50((64, 64, 3), num_classes=1000)
    model.compile(optimizers.AdamP(0.1, weight_decay=0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    state = epoch_copies.read_state(model)
    most = epoch_copies.MOST
    with tempfile.TemporaryDirectory() as folder:

        def write(copies):
            arrays = {f"{i}/{j}": a for i in range(copies) for j, a in enumerate(state)}
            write_atomically(Path(folder) / "update.npz", checkpoint_file.encoded({}, arrays))

        return dict(
            bytes_of_a_copy=sum(each.nbytes for each in state),
            bytes_of_all=most * sum(each.nbytes for each in state),
            seconds_to_copy=_median(lambda: epoch_copies.read_state(model), rounds),
            seconds_to_go_back=_median(lambda: epoch_copies.write_state(model, state), rounds),
            seconds_of_a_checkpoint=_median(lambda: write(1), rounds),
            seconds_of_a_checkpoint_with_all=_median(lambda: write(1 + most), rounds),
        )


def _median(function, rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def _share(network: str, arguments, restore: bool) -> dict:
    train, plan, model = _run(network, arguments, steered=True)
    callback = callbacks.AutoWU(train, plan, restore=restore)
    spent, cpu = dict.fromkeys(METHODS, 0.0), dict.fromkeys(METHODS, 0.0)
    for name in METHODS:
        setattr(callback, name, _timed(getattr(callback, name), name, spent, cpu))
    begin, cpu_begin = time.perf_counter(), time.process_time()
    model.fit(train, epochs=plan.epochs, verbose=0, callbacks=[callback])
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
    return dict(
        seconds=seconds,
        share=sum(spent.values()) / seconds,
        cpu_share=sum(cpu.values()) / cpu_seconds,
        spent=spent,
        judgements=len(callback.decisions),
        learning_rate=callback.peak_learning_rate,
    )


def _timed(method, name: str, spent: dict, cpu: dict):
    @functools.wraps(method)
    def timed(*positional, **named):
        begin, cpu_begin = time.perf_counter(), time.thread_time()
        method(*positional, **named)
        spent[name] += time.perf_counter() - begin
        cpu[name] += time.thread_time() - cpu_begin

    return timed


def _ratio(network: str, arguments) -> dict:
    """Returns the ratio of epochs in the warm-up; each `fit` starts at the plan's first epoch."""
    runs = {}
    for name in ("with", "without"):
        train, plan, model = _run(network, arguments, steered=name == "with")
        auto_wu = callbacks.AutoWU(train, plan, restore=False)
        runs[name] = (model, train, [auto_wu] if name == "with" else [], _EpochTimes())
    epochs = 6
    pairs = []
    for index in range(-(-arguments.rounds // (epochs - 1)) + 1):
        order = ("with", "without") if index % 2 == 0 else ("without", "with")
        for name in order:
            model, train, used, times = runs[name]
            model.optimizer.iterations.assign(0)
            model.fit(train, epochs=epochs, verbose=0, callbacks=[*used, times])
        if index:  # leave out the first fit, which traces, and the first epoch of each
            pairs += zip(runs["with"][3].seconds[1:], runs["without"][3].seconds[1:], strict=True)
    ratios = [a / b for a, b in pairs]
    low, _, high = statistics.quantiles(ratios, n=4)
    return dict(ratio=statistics.median(ratios), quartiles=[low, high], pairs=len(ratios))


class _EpochTimes(keras.callbacks.Callback):
    """Records the seconds from one epoch's end to the next's, including all callbacks."""

    def on_train_begin(self, logs=None):
        self.seconds, self._last = [], time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now


def _run(network: str, arguments, steered: bool):
    keras.utils.set_random_seed(0)
    size = arguments.batch_size
    train = data.load("mnist", "train", batch_size=size, data_dir=arguments.data_dir)
    plan = planning.auto_wu_plan(
        epochs=EPOCHS[network], batch_size=size, momentum=0.0, num_examples=train.num_examples
    )
    sizes = dict(hidden_sizes=(128,)) if network == "mlp" else dict(width=8)
    model = getattr(models, network)((28, 28, 1), num_classes=10, **sizes)
    rate = 0.1 if steered else plan.learning_rate_schedule()
    model.compile(
        optimizers.AdamP(rate, weight_decay=0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=8,
    )
    return train, plan, model


def _line(network: str, figure: dict) -> str:
    parts = ", ".join(f"{name} {1000 * s:.0f} ms" for name, s in figure["spent"].items())
    return (
        f"{network}: {100 * figure['share']:.2f} % of {figure['seconds']:.1f} s in AutoWU, "
        f"{100 * figure['cpu_share']:.2f} % of the CPU seconds "
        f"({figure['judgements']} judgements; {parts})"
    )


if __name__ == "__main__":
    main()
