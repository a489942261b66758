"""What configs share. A config imports this module and ml_collections, nothing else."""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from lbkeras.errors import UserError, unknown_name
from lbkeras.runs.train_section import DEFAULTS

FIRST_TUNING_SEED = 100


def experiment(
    *,
    data: dict[str, Any],
    model: dict[str, Any],
    optimizer: dict[str, Any],
    plan: dict[str, Any],
    arms: Mapping[str, dict[str, Any]],
    callbacks: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    seeds: int = 3,
    first_seed: int = 0,
    checkpoint_minutes: float = 10.0,
    tuning: bool = False,
) -> ConfigDict:
    """A config: the sections of an experiment and the arms that differ from it.

    Args:
        data: `name`, `num_examples` of the training split, and what differs from the defaults here.
        model: `name` and the arguments of a function of `lbkeras.models`; with `ghost_batch_size`
            any of them has ghost batch normalisation.
        optimizer: `name` and the arguments of an optimizer of lbkeras or Keras, without learning
            rate and momentum, which the plan brings.
        plan: `name` and the arguments of a function of `lbkeras.planning`.
        callbacks: names of `lbkeras.callbacks` that steer or measure, each with its arguments.
        train: `precision`, `jit_compile`, `steps_per_execution`, `validation_freq`, `ema_momentum`,
            `clipnorm`, `global_clipnorm`, `clipvalue`, as `lbkeras.runs.train_section` describes
            them; what is left out has its default.
        arms: for each arm what it sets differently, in the same sections, and a `description`.
        seeds: how many seeds `lbkeras replicate` runs.
        first_seed: the first of them; one that chooses a setting takes other seeds than the one
            that reports with it.
        checkpoint_minutes: how long a run may be unsaved inside an epoch.
        tuning: it chooses a setting: on `held_out` data, with seeds from 100 on.
    """
    defaults = dict(
        train_split="train", test_split="test", test_batch_size=1000, augmentation="default"
    )
    more = dict(callbacks=callbacks) if callbacks else {}
    if tuning:
        data, first_seed = held_out(data), FIRST_TUNING_SEED
    return ConfigDict(
        more
        | dict(
            data=defaults | data,
            model=model,
            optimizer=optimizer,
            plan=plan,
            train=DEFAULTS | (train or {}),
            arms=ConfigDict(arms, sort_keys=False),  # as `arms` does
            seeds=seeds,
            first_seed=first_seed,
            checkpoint_minutes=checkpoint_minutes,
        )
    )


def arms(settings: Mapping[str, Any]) -> ConfigDict:
    """Arms in the order they are written in: the first is the one that others compare with."""
    return ConfigDict(settings, sort_keys=False)


def variants(**functions: Callable[[], ConfigDict]) -> Callable[..., ConfigDict]:
    """The `get_config` of a config that has variants.

    >>> get_config = variants(digits=lambda: "small", mnist=lambda: "larger")
    >>> get_config(), get_config("mnist"), list(get_config.variants)
    ('small', 'larger', ['digits', 'mnist'])

    Args:
        **functions: for each variant the function that makes its config; the first is the default.
    """

    def get_config(variant=""):
        """The config of a variant; an empty name is the first."""
        name = variant or next(iter(functions))
        if name not in functions:
            raise UserError(unknown_name("variant", name, functions))
        return functions[name]()

    get_config.variants = functions
    return get_config


def held_out(data: dict[str, Any]) -> dict[str, Any]:
    """The section `data` with a fifth of the training split held out, which is tested on."""
    return data | dict(
        train_split="train[:80%]",
        test_split="train[80%:]",
        num_examples=round(0.8 * data["num_examples"]),
    )


def rates_around(middle: float) -> list[float]:
    """Five learning rates, a factor of 2 apart."""
    return [middle * multiple for multiple in (0.25, 0.5, 1.0, 2.0, 4.0)]


def rate_arm(group: str, rate: float) -> str:
    """The name of a tuning's arm, GROUP_rate_RATE; a ConfigDict's keys have no dots."""
    return f"{group}_rate_{rate:g}".replace(".", "_")
