import pytest

from lbkeras.errors import UserError
from lbkeras.planning import Phase, Plan, check_replicas, replica_batch_size

PLAN = Plan([Phase(0, 20, 32, 0.1, 0.9), Phase(20, 10, 143, 0.1, 0.9)], 1437)


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replica_batch_size(replicas):
    assert replica_batch_size(12, replicas) * replicas == 12


@pytest.mark.parametrize(
    "size, replicas, nearest",
    [(143, 2, "are 142 and 144"), (1, 2, "is 2"), (10, 4, "are 8 and 12"), (3, 4, "is 4")],
)
def test_nearest_sizes(size, replicas, nearest):
    message = f"multiple of the {replicas} replicas, received {size}; the nearest {nearest}$"
    with pytest.raises(UserError, match=message):
        replica_batch_size(size, replicas)


def test_every_phase_is_checked():
    check_replicas(PLAN, 1)
    with pytest.raises(UserError, match=r"^phase 2 \(epochs 21 to 30\): .* 142 and 144$"):
        check_replicas(PLAN, 2)
