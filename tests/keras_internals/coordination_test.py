"""TensorFlow's heartbeats between workers, off; in its own process, as it is set before start."""

import json

import pytest

from tests.forked import Forked
from tests.ports import reserve_addresses

PROGRAM = """
import json, os, sys
task = {"type": "worker", "index": 0}
os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": [sys.argv[1]]}, "task": task})
import tensorflow as tf
from tensorflow.python.eager import context
from lbkeras.keras_internals.coordination import switch_heartbeats_off
switch_heartbeats_off()
from lbkeras import distribution
strategy = distribution.strategy("multi_worker")
with strategy.scope():
    assert tf.Variable(1.0).numpy() == 1.0
service = context.context().coordination_service
print(json.dumps([service.service_type, service.heartbeat_timeout_in_ms]), flush=True)
os._exit(0)
"""


@pytest.mark.release  # the gate: tests/cli/multi_worker_test.py
def test_tensorflow_waits_longer_for_a_worker_than_we_do(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    process = Forked(*reserve_addresses(1), script=tmp_path / "program.py")
    output, error = process.communicate(timeout=60)
    assert output, error
    kind, milliseconds = json.loads(output)
    assert kind == "standalone" and milliseconds > 1000 * 86_400  # the longest --worker_timeout
