"""TensorFlow's heartbeats between workers."""

import functools

from tensorflow.python.eager import context

from lbkeras.keras_internals.names import private

_MILLISECONDS = 7 * 24 * 3600 * 1000


def switch_heartbeats_off() -> None:
    """Makes TensorFlow wait for a silent worker for 7 days; call it before creating a strategy.

    By default TensorFlow's coordination service stops all workers after one has sent no heartbeat
    for 10 s, which is too soon for a worker that only pauses. Use this only if something else
    watches the workers, such as `lbkeras.distribution.workers.Workers`.
    """
    started = private(context, "context")()
    started.configure_coordination_service = functools.partial(
        private(started, "configure_coordination_service"), heartbeat_timeout_in_ms=_MILLISECONDS
    )
