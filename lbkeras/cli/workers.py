"""A command's devices and workers: their flags, and their setup before TensorFlow starts."""

import contextlib
import os
import sys
import time
from pathlib import Path

from lbkeras.cli.command_flags import CommandFlags
from lbkeras.errors import UserError, one_line
from lbkeras.keras_internals.backend_start import require_tensorflow

_SECONDS_FOR_THE_LINE = 10.0
_LEAST_SECONDS, _MOST_SECONDS = 5, 86_400  # below 5, a busy machine looks like a lost one
_LEAST_CHARACTERS = 16  # of a token
# TensorFlow's errors when another worker or the network is lost.
_LOST = ("UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError")


def define_device_flags(command: CommandFlags, several_workers: bool = True) -> None:
    """Defines the flags that choose a command's devices and its other workers."""
    strategies = ["auto", "one", "mirrored", "multi_worker", "tpu"]
    command.choice(
        "strategy",
        "auto",
        strategies if several_workers else [s for s in strategies if s != "multi_worker"],
        "one: one device; mirrored: all GPUs or logical CPUs of this machine; "
        f"{'multi_worker: several processes; ' if several_workers else ''}tpu: a TPU; auto: "
        "what is available.",
    )
    command.integer(
        "num_logical_devices", 1, "Logical CPUs to split the CPU into, one per replica.", least=1
    )
    command.integer(
        "memory_limit_mb", 0, "Memory limit of each device, in MB; 0: no limit.", least=0
    )
    if several_workers:
        _define_worker_flags(command)


def _define_worker_flags(command: CommandFlags) -> None:
    command.string(
        "workers",
        None,
        "HOST:PORT,HOST:PORT,... of all processes that train together, the same list for each; "
        "if not given, TF_CONFIG is used.",
    )
    command.integer("worker_index", None, "This process's place in --workers.", least=0)
    command.integer(
        "worker_timeout",
        60,
        "Seconds to wait for the other workers at the start, and later for the heartbeat of a "
        "silent worker. After that, the others end, and the same command resumes from the last "
        "checkpoint. A shorter pause does no harm.",
        least=_LEAST_SECONDS,
        most=_MOST_SECONDS,
    )
    command.path(
        "token_file",
        "File with a secret of at least 16 characters that all workers share; a process without "
        "it cannot take part. If not given, the environment variable LBKERAS_TOKEN is used.",
    )


@contextlib.contextmanager
def workers_met(flags, settings: dict):
    """Prepares the devices and meets the other workers, if any; the block then trains.

    If another worker stops early, or is silent for `--worker_timeout`, this process ends with
    status 2 and one line. If this worker stops early, the others are told why.

    Args:
        flags: as `define_device_flags` defines them.
        settings: what must be the same for all workers: nested names to values.

    Yields:
        The `lbkeras.distribution.workers.Workers`; None if this process trains alone.

    Raises:
        UserError: flags contradict each other, or as `set_cluster` or `rendezvous.meet`.
    """
    from lbkeras import devices

    _check(flags)
    several = flags.workers or (
        flags.strategy in ("auto", "multi_worker") and os.environ.get("TF_CONFIG")
    )
    if several:
        require_tensorflow("--workers" if flags.workers else "TF_CONFIG")
        # Hides TensorFlow's own lines about a lost worker.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if flags.token_file is not None and not several:
        raise UserError(
            f"--workers: expected HOST:PORT,... with --token_file={flags.token_file}, received none"
        )
    token = _token(flags.token_file) if several else ""
    devices.configure_devices(flags.num_logical_devices, flags.memory_limit_mb)
    workers = _meet(flags, settings, token) if several else None
    if workers is None:
        yield None
        return
    try:
        yield workers
    except BaseException as error:
        if type(error).__name__ in ("Diverged", "Interrupted"):  # in all workers at one update
            workers.leave()
        else:
            if type(error).__module__.startswith("tensorflow."):
                # If another worker was lost, its line ends this process during the sleep.
                lost = type(error).__name__ in _LOST
                time.sleep(_SECONDS_FOR_THE_LINE + (flags.worker_timeout if lost else 0))
            workers.leave(_reason(error))
        raise
    workers.leave()


def _check(flags) -> None:
    if flags.workers is None and flags.worker_index is not None:
        raise UserError(
            f"--workers: expected HOST:PORT,... with --worker_index={flags.worker_index}, "
            "received none"
        )
    if flags.workers is not None and flags.worker_index is None:
        raise UserError(
            "--worker_index: expected this process's place in --workers, from 0, received none"
        )
    if flags.workers is not None and flags.strategy not in ("auto", "multi_worker"):
        raise UserError(
            f"--strategy: expected multi_worker with --workers, received {flags.strategy}"
        )


def _meet(flags, settings: dict, token: str):
    from lbkeras.keras_internals.tensorflow_start import load_tensorflow

    load_tensorflow()
    from lbkeras.distribution import cluster, rendezvous
    from lbkeras.keras_internals.coordination import switch_heartbeats_off

    if flags.workers is None:
        present = cluster.present_cluster()
    else:
        present = cluster.set_cluster(flags.workers, flags.worker_index)
    if present is None or present.num_workers == 1:
        return None
    workers = rendezvous.meet(
        present.workers,
        present.worker_index,
        _flat(settings),
        flags.worker_timeout,
        _end,
        token,
    )
    switch_heartbeats_off()  # TensorFlow's heartbeats; ours are watched from now on
    return workers


def _token(file: str | None) -> str:
    """Returns the secret that the workers share; empty if the user gave none."""
    present = os.environ.get("LBKERAS_TOKEN")
    if file is None and present is None:
        return ""
    if file is not None and present is not None:
        raise UserError("--token_file: expected this or LBKERAS_TOKEN, received both")
    name, token = "LBKERAS_TOKEN", present
    if file is not None:
        name = f"--token_file={file}"
        try:
            token = Path(file).read_text()
        except OSError as error:
            raise UserError(f"{name}: expected a text file, received: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UserError(f"{name}: expected a text file, received bytes") from None
    token = token.strip()
    if len(token) < _LEAST_CHARACTERS:
        raise UserError(
            f"{name}: expected a secret of at least {_LEAST_CHARACTERS} characters, received "
            f"{len(token)}"
        )
    return token


def _flat(settings: dict, prefix: str = "") -> dict:
    """Flattens {"plan": {"epochs": 3}} to {"plan.epochs": 3}."""
    flat = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _end(sentence: str) -> None:
    """Ends this process at once, as its main thread may hang in an all-reduce."""
    if sys.stdout.isatty():
        os.write(1, b"\n")  # ends the line of the progress bar
    os.write(2, f"lbkeras: error: {sentence}\n".encode())
    os._exit(2)


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "it was interrupted"
    text = one_line(str(error))
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"[:500]
