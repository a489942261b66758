"""Patches of faults in Keras 3 that only matter with several replicas.

Each patch consists of a probe, which runs the code in question to see whether this Keras has the
fault, and a fix. `lbkeras.distribution.strategy` applies the fixes that are needed if there are
several replicas. `tests/keras_internals/patches_test.py` fails as soon as a Keras does not have one
of the faults, so that its patch can be removed.
"""

import tensorflow as tf

from lbkeras.keras_internals import (
    loss_patches,
    loss_reduction,
    optimizer_patches,
    trainer_patches,
)


def patch_keras() -> tuple[str, ...]:
    """Fixes the faults that this Keras has with several replicas.

    Costs about 50 ms once. Call it yourself only if your strategy does not come from
    `lbkeras.distribution.strategy`, before the first `fit`.

    Returns:
        The names of the faults fixed by this call; empty when called again.
    """
    patched = []
    for name, (is_at_fault, patch) in PATCHES.items():
        if is_at_fault():
            patch()
            patched.append(name)
    return tuple(patched)


PATCHES = {
    "model is built from a reduced batch": (
        trainer_patches.build_reduces_a_batch,
        trainer_patches.build_from_a_local_part,
    ),
    "means over workers need an axis": (
        trainer_patches.means_need_an_axis,
        trainer_patches.take_means_without_axis,
    ),
    "steps run inside a condition": (
        trainer_patches.steps_stand_in_a_condition,
        trainer_patches.steps_in_a_plain_loop,
    ),
    "gradients are clipped before their sum": (
        optimizer_patches.gradients_are_clipped_before_their_sum,
        optimizer_patches.clip_gradients_after_their_sum,
    ),
    "a part is divided by its own weights": (
        lambda: not loss_patches.replicas_meet_in(loss_patches.REDUCE, tf.ones(2)),
        lambda: loss_patches.patch_loss(loss_patches.REDUCE, loss_reduction.reduced_over_replicas),
    ),
    "the shown loss counts parts by their examples": (
        lambda: not loss_patches.replicas_meet_in(loss_patches.UNSCALE, tf.ones(())),
        lambda: loss_patches.patch_loss(loss_patches.UNSCALE, loss_reduction.shown_over_replicas),
    ),
    "replicas share the losses of a layer": (
        loss_patches.losses_are_shared,
        loss_patches.keep_losses_apart,
    ),
    "added losses count parts alike": (
        loss_patches.added_losses_count_alike,
        loss_patches.weight_added_losses_by_examples,
    ),
    "averages are put in a condition": (
        optimizer_patches.averages_are_put_in_a_condition,
        optimizer_patches.put_averages_without_condition,
    ),
    "a replica checks its own gradients": (
        optimizer_patches.a_replica_checks_its_own_gradients,
        optimizer_patches.check_gradients_of_all_replicas,
    ),
    "data are not told the strategy": (
        trainer_patches.data_are_not_told_the_strategy,
        trainer_patches.tell_data_the_strategy,
    ),
}
