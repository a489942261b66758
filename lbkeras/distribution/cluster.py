"""The processes that train together and this one's index: TF_CONFIG in plain Python.

Nothing in this module loads TensorFlow; importing `lbkeras.distribution` does.
"""

import dataclasses
import json
import os

from lbkeras.errors import UserError


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes that train one model together, and this one's index.

    Args:
        workers: the address "host:port" of each worker, in the same order in all of them.
        worker_index: this process's index in `workers`, from 0. Worker 0 is the chief, the only
            one that writes shared files.

    Raises:
        UserError: there are no workers, an address is not "host:port" or occurs twice, or the index
            is out of range.

    >>> cluster = Cluster(("10.0.0.1:2222", "10.0.0.2:2222"), worker_index=1)
    >>> cluster.num_workers, cluster.is_chief
    (2, False)
    """

    workers: tuple[str, ...]
    worker_index: int

    def __post_init__(self):
        workers = self.workers
        if isinstance(workers, str) or not all(isinstance(worker, str) for worker in workers):
            raise UserError(f"workers: expected a list of host:port, received {workers!r}")
        object.__setattr__(self, "workers", tuple(workers))
        if not workers:
            raise UserError("workers: expected at least one host:port, received none")
        for worker in workers:
            _check_address(worker)
            if list(workers).count(worker) > 1:
                raise UserError(f"workers: expected each host:port once, received {worker} twice")
        index = self.worker_index
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(workers):
            raise UserError(
                f"worker_index: expected 0 to {len(workers) - 1} (there are {len(workers)} "
                f"workers), received {index!r}"
            )

    @property
    def num_workers(self) -> int:
        return len(self.workers)

    @property
    def is_chief(self) -> bool:
        return self.worker_index == 0

    def tf_config(self) -> str:
        """Returns this process's value of the environment variable TF_CONFIG, as JSON."""
        task = {"type": "worker", "index": self.worker_index}
        return json.dumps({"cluster": {"worker": list(self.workers)}, "task": task})


def read_tf_config(text: str) -> Cluster:
    """Returns the cluster that a TF_CONFIG describes; a task of type "chief" comes first.

    Args:
        text: JSON, `{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker",
            "index": 0}}`.

    Raises:
        UserError: the text is not of that form, or as for `Cluster`.
    """
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"TF_CONFIG: expected JSON, received {text!r} ({error})") from None
    try:
        jobs, task = config["cluster"], config.get("task", {})
        chiefs, workers = list(jobs.get("chief", [])), list(jobs.get("worker", []))
        kind, index = task.get("type"), task.get("index")
    except (AttributeError, KeyError, TypeError):
        raise UserError(
            'TF_CONFIG: expected {"cluster": {"worker": ["host:port", ...]}, '
            f'"task": {{"type": "worker", "index": 0}}}}, received {text}'
        ) from None
    others = sorted(set(jobs) - {"chief", "worker"})
    if others:
        raise UserError(f"TF_CONFIG: expected workers only, received {', '.join(others)}")
    if len(chiefs) > 1:
        raise UserError(f"TF_CONFIG: expected at most one chief, received {len(chiefs)}")
    valid = [name for name in ("chief", "worker") if jobs.get(name)]
    if kind not in valid:
        names = " or ".join(repr(name) for name in valid) or "a cluster with workers"
        raise UserError(f"TF_CONFIG: expected a task of type {names}, received {kind!r}")
    if kind == "worker" and isinstance(index, int) and index >= 0:
        index += len(chiefs)
    try:
        return Cluster(tuple(chiefs + workers), index)
    except UserError as error:
        raise UserError(f"TF_CONFIG: {error}") from None


def present_cluster() -> Cluster | None:
    """Returns the cluster in the environment's TF_CONFIG; None if it is not set or empty.

    Raises:
        UserError: as for `read_tf_config`.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    return None if text in ("", "{}") else read_tf_config(text)


def set_cluster(workers: str, worker_index: int) -> Cluster:
    """Sets TF_CONFIG to a cluster and returns it. Call it before TensorFlow starts.

    Args:
        workers: the addresses in order, "host:port,host:port,...".
        worker_index: this process's index among them, from 0.

    Raises:
        UserError: as for `Cluster`.
    """
    addresses = [worker.strip() for worker in workers.split(",") if worker.strip()]
    cluster = Cluster(tuple(addresses), worker_index)
    os.environ["TF_CONFIG"] = cluster.tf_config()
    return cluster


def worker_index() -> int:
    """Returns this process's index among the workers, from 0; 0 without TF_CONFIG."""
    cluster = present_cluster()
    return cluster.worker_index if cluster else 0


def _check_address(worker: str) -> None:
    host, _, port = worker.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:
        raise UserError(
            f"workers: expected host:port with a port of 1 to 65535, received {worker!r}"
        )
    if host in ("0.0.0.0", "::", "[::]"):
        raise UserError(
            f"workers: expected an address that other workers can connect to, received {worker!r}"
        )
