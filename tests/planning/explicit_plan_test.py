"""A plan that is written out and read back is the same plan."""

import json

import pytest

from lbkeras.errors import UserError
from lbkeras.planning import cosine_plan, explicit_plan, noise_scale_plan

GROWN = noise_scale_plan(
    strategy="increase_batch", epochs=40, boundaries=(12, 24, 32), factor=5, learning_rate=0.0025,
    momentum=0.9, batch_size=4, max_batch_size=140, num_examples=1437,
)  # fmt: skip
COSINE = cosine_plan(
    epochs=7, batch_size=32, learning_rate=0.1, momentum=0.5, num_examples=640,
    final_learning_rate=0.0,
)  # fmt: skip


@pytest.mark.parametrize("plan", [GROWN, COSINE])
def test_what_to_dict_writes_is_read_back(plan):
    data = json.loads(json.dumps(plan.to_dict()))
    again = explicit_plan(
        phases=data["phases"], num_examples=data["num_examples"], curve=data.get("curve")
    )
    assert again == plan


def test_a_phase_without_a_value():
    with pytest.raises(UserError, match=r"phases\[0\]: expected the key 'momentum', received"):
        explicit_plan(
            phases=[dict(first_epoch=0, epochs=1, batch_size=8, learning_rate=0.1)],
            num_examples=64,
        )
