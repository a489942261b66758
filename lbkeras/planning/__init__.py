"""Plans: batch size, learning rate and momentum over the epochs, in plain arithmetic.

Nothing here loads TensorFlow or Keras, except `Plan.learning_rate_schedule` when it is called.
"""

from lbkeras.planning.auto_wu_plan import auto_wu_plan
from lbkeras.planning.legw_plan import legw_plan
from lbkeras.planning.noise_scale import accumulator_epochs, exact_noise_scale, noise_scale
from lbkeras.planning.noise_scale_plan import noise_scale_plan
from lbkeras.planning.plan import Phase, Plan
from lbkeras.planning.recipes import (
    cosine_plan,
    curve_plan,
    linear_plan,
    polynomial_plan,
    steps_plan,
    warmup_steps_plan,
)
from lbkeras.planning.regime_adaptation_plan import regime_adaptation_plan
from lbkeras.planning.replicas import check_replicas, replica_batch_size
from lbkeras.planning.slow_start_plan import slow_start_plan
from lbkeras.planning.updates import count_updates
from lbkeras.planning.written_plan import written_plan

__all__ = [
    "Phase",
    "Plan",
    "accumulator_epochs",
    "auto_wu_plan",
    "check_replicas",
    "cosine_plan",
    "count_updates",
    "curve_plan",
    "exact_noise_scale",
    "legw_plan",
    "linear_plan",
    "noise_scale",
    "noise_scale_plan",
    "polynomial_plan",
    "regime_adaptation_plan",
    "replica_batch_size",
    "slow_start_plan",
    "steps_plan",
    "warmup_steps_plan",
    "written_plan",
]
