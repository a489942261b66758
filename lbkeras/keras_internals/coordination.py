"""TensorFlow's own watch over the workers that train together."""

import functools

from tensorflow.python.eager import context

from lbkeras.keras_internals.names import private

_MILLISECONDS = 7 * 24 * 3600 * 1000


def switch_heartbeats_off() -> None:
    """Makes TensorFlow wait for a worker that is silent, however long; before a strategy is made.

    By itself its coordination service gives a worker up after 10 s without a heartbeat, and all
    others with it: too soon for one that only pauses. For processes that somebody else watches, as
    `lbkeras.distribution.workers.Workers` does.
    """
    started = private(context, "context")()
    started.configure_coordination_service = functools.partial(
        private(started, "configure_coordination_service"), heartbeat_timeout_in_ms=_MILLISECONDS
    )
