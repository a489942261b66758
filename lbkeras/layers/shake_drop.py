"""ShakeDrop: multiplies a residual branch by random factors that differ forward and backward."""

from typing import Any

import keras
from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.keras_internals.replica_context import replica_context

_LEVELS = ("batch", "image", "channel", "pixel")


@keras.saving.register_keras_serializable(package="lbkeras")
class ShakeDrop(keras.layers.Layer):
    """Multiplies a residual branch by random factors that differ forward and backward.

    Put it at the end of the branch, before the shortcut is added. In training, with
    b ~ Bernoulli(`survival_probability`), α ~ U(`alpha`) and β ~ U(`beta`):

        output   = (b + α − b α) x
        gradient = (b + β − b β) times the output's gradient

    So the branch is unchanged (b = 1), or scaled by α in the forward and by β in the backward pass.
    In inference the output is `E[b + α − b α] x = (p + (1 − p) E[α]) x`, which is `p x` for the
    default α. `alpha=(0, 0), beta=(0, 0)` is stochastic depth.

    Args:
        survival_probability: p, the probability that b is 1, 0 to 1. Default 0.5. The paper's l-th
            of L blocks has `1 − (l / L) · (1 − p_L)` with p_L = 0.5.
        alpha: `(lowest, highest)` of the forward factor. Default (-1, 1).
        beta: `(lowest, highest)` of the backward factor. Default (0, 1).
        level: what has its own b, α and β: each replica's batch (`"batch"`), each image
            (`"image"`, the default), each channel of an image (`"channel"`), or each element
            (`"pixel"`).
        seed: integer seed of the random numbers. Replicas draw different numbers.

    Shapes: `(batch, ..., channels)` in and out, any rank from 2 on.

    Raises:
        UserError: the probability is outside 0 to 1, a range is not two numbers with the lowest
            first (they may be equal), or the level is unknown.

    Differs from the paper: b is drawn for each unit of the level, as α and β are. Public
    ports draw b once per batch, which makes the noise of an update independent of the batch size.

    Example:

    >>> layer = ShakeDrop(survival_probability=0.75)
    >>> layer(keras.ops.ones((1, 2))).numpy().tolist()
    [[0.75, 0.75]]

    Reference: Yamada, Iwamura, Akiba, Kise, "ShakeDrop Regularization for Deep Residual Learning",
    arXiv:1802.02375, section 3.
    """

    def __init__(
        self,
        survival_probability: float = 0.5,
        alpha: tuple[float, float] = (-1.0, 1.0),
        beta: tuple[float, float] = (0.0, 1.0),
        level: str = "image",
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        number = isinstance(survival_probability, int | float)
        if not number or not 0 <= survival_probability <= 1:
            raise UserError(
                f"survival_probability: expected 0 to 1, received {survival_probability!r}."
            )
        if level not in _LEVELS:
            raise UserError(f"level: expected one of {', '.join(_LEVELS)}, received {level!r}.")
        self.survival_probability = survival_probability
        self.alpha = _range("alpha", alpha)
        self.beta = _range("beta", beta)
        self.level = level
        self.seed = None if seed is None else checks.integer("seed", seed)
        self.seed_generator = _ReplicaSeedGenerator(seed)
        self.supports_masking = True
        self.built = True

    def call(self, inputs, training=False):
        p = self.survival_probability
        if not training:
            return inputs * (p + (1 - p) * sum(self.alpha) / 2)
        shape = self._noise_shape(ops.shape(inputs))
        survives = self._uniform(shape, (0.0, 1.0)) < p
        forward = ops.cast(ops.where(survives, 1.0, self._uniform(shape, self.alpha)), inputs.dtype)
        backward = ops.cast(ops.where(survives, 1.0, self._uniform(shape, self.beta)), inputs.dtype)
        # The value is inputs * forward; the gradient is backward, as the second term has none.
        return inputs * backward + ops.stop_gradient(inputs * (forward - backward))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {
            "survival_probability": self.survival_probability,
            "alpha": self.alpha,
            "beta": self.beta,
            "level": self.level,
            "seed": self.seed,
        }

    def _uniform(self, shape, bounds):
        return keras.random.uniform(shape, *bounds, dtype="float32", seed=self.seed_generator)

    def _noise_shape(self, shape):
        ones = (1,) * (len(shape) - 2)
        return {
            "batch": (1, *ones, 1),
            "image": (shape[0], *ones, 1),
            "channel": (shape[0], *ones, shape[-1]),
            "pixel": shape,
        }[self.level]


class _ReplicaSeedGenerator(keras.random.SeedGenerator):
    """Gives each replica other seeds; with Keras' own, the i-th images of all have equal noise."""

    def next(self, ordered=True):
        seed = super().next(ordered)
        context = replica_context()
        if context is None:
            return seed
        replica = ops.cast(context.replica_id_in_sync_group, seed.dtype)
        return seed + ops.stack([replica * 999_983, ops.zeros_like(replica)])


def _range(name, bounds):
    try:
        lowest, highest = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        lowest, highest = 0.0, -1.0
    if not lowest <= highest:
        raise UserError(f"{name}: expected (lowest, highest), received {bounds!r}.")
    return lowest, highest
