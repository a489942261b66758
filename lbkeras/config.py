"""What configs share. A config imports this module and ml_collections, nothing else."""

import difflib

from ml_collections import ConfigDict


def experiment(
    *,
    data,
    model,
    optimizer,
    plan,
    arms,
    callbacks=None,
    seeds=3,
    first_seed=0,
    checkpoint_minutes=10.0,
):
    """A config: the sections of an experiment and the arms that differ from it.

    Args:
        data: `name`, `num_examples` of the training split, and what differs from the defaults here.
        model: `name` and the arguments of a function of `lbkeras.models`; with `ghost_batch_size`
            any of them has ghost batch normalisation.
        optimizer: `name` and the arguments of an optimizer of lbkeras or Keras, without learning
            rate and momentum, which the plan brings.
        plan: `name` and the arguments of a function of `lbkeras.planning`.
        callbacks: names of `lbkeras.callbacks` that steer or measure, each with its arguments.
        arms: for each arm what it sets differently, in the same sections, and a `description`.
        seeds: how many seeds `lbkeras replicate` runs.
        first_seed: the first of them; one that chooses a setting takes other seeds than the one
            that reports with it.
        checkpoint_minutes: how long a run may be unsaved inside an epoch.
    """
    defaults = dict(
        train_split="train", test_split="test", test_batch_size=1000, augmentation="default"
    )
    more = dict(callbacks=callbacks) if callbacks else {}
    return ConfigDict(
        more
        | dict(
            data=defaults | data,
            model=model,
            optimizer=optimizer,
            plan=plan,
            arms=in_order(arms),
            seeds=seeds,
            first_seed=first_seed,
            checkpoint_minutes=checkpoint_minutes,
            steps_per_execution=0,  # updates in one call of the graph; 0: chosen from the model
        )
    )


def in_order(arms):
    """Arms in the order they are written in: the first is the one that others compare with."""
    return ConfigDict(arms, sort_keys=False)


def choose(variants, variant):
    """The entry of a dict of variants, or an error that names the valid ones and the nearest."""
    if variant in variants:
        return variants[variant]
    nearest = difflib.get_close_matches(variant, variants, n=1)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    raise ValueError(f"variant: expected one of {', '.join(variants)}, received {variant!r}{hint}")
