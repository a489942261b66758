"""MLPerf Training 4.0, ResNet-50 on ImageNet: LARS at ten batch sizes, and the epochs each needs.

Benchmark: Mattson et al., arXiv:1910.01500 (recalled, not looked up). Settings and the reference's
convergence points are from github.com/mlcommons/logging, training_4.0.0/rcps_resnet.json; the
settings of two submissions are from github.com/mlcommons/training_results_v4.0.
Claim: a larger batch needs more epochs to 75.9 % top-1, but fewer updates.

Variants (`--config=configs/papers/mlperf2024_resnet50.py:VARIANT`):
    digits      scikit-learn's digits, embedded: the recipe scaled down by us; the default
    mnist       MNIST, the recipe scaled down by us
    imagenet    ResNet-50 at the reference's batch sizes, 1,632 to 67,840, and at two submissions'

LARS has trust coefficient 0.001 and the learning rate inside the momentum; biases and batch norm
variables get plain momentum, without LARS and weight decay. Linear warm-up from 0, decay of power 2
to 1e-4, label smoothing 0.1, evaluation every 4 epochs.

Traps:
- The reference's "decay steps" count the whole run in some rows (2,267 at 32,768: 58 epochs) and
  only the part after the warm-up in others (1,133 at 65,536: 58 epochs, after 31 of warm-up). We
  use the first reading where it is longer than the median epochs to the target, otherwise the
  second. Every row's length is then 2 to 5 epochs beyond that median.
- MLPerf rounds every 4 epochs up to whole updates; here the remainder of each epoch is dropped. At
  32,768 for 64 epochs that is 157 x 16 = 2,512 there and 39 x 64 = 2,496 here.
- The first evaluation at or above 75.9 % counts, so the epochs to it are multiples of 4.

Ghost batches of 32 in batch norm ("BN span") are known only for the submission at 57,344; that
every arm has them is our choice, as no machine normalizes 65,536 examples together. That
submission's length is ours too, chosen between the neighboring batch sizes of the reference. The
report shows the reference's epochs beside each arm, interpolated linearly between its batch sizes,
as MLPerf does.

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.
Not run by us: imagenet (months on 2 CPU cores).

    lbkeras replicate --config=configs/papers/mlperf2024_resnet50.py:digits --workdir=runs/mlperf
"""

from lbkeras import config as common

_SOURCE = "MLPerf Training 4.0, reference convergence points"
_IMAGENET = 1_281_167
_TARGET = 0.759

# Batch size: learning rate, warm-up epochs, momentum, weight decay, decay steps, median epochs to
# 75.9 %.
_REFERENCE = {
    1632: (7.4, 2, 0.9, 5e-5, 27_476, 35.0),
    3264: (10.5, 2, 0.9, 5e-5, 14_523, 35.0),
    4096: (10.0, 5, 0.9, 2e-4, 13_137, 40.0),
    8192: (17.0, 5, 0.9, 2e-4, 6_095, 42.0),
    13_056: (12.8, 9, 0.9, 2.5e-5, 4_710, 45.5),
    32_768: (21.2, 16, 0.94, 2.5e-5, 2_267, 56.0),
    49_152: (19.405, 24, 0.951807, 1e-4, 1_846, 68.0),
    58_880: (23.246, 29, 0.951807, 1e-4, 1_785, 80.0),
    65_536: (24.699, 31, 0.951807, 1e-4, 1_133, 85.0),
    67_840: (24.699, 31, 0.951807, 1e-4, 1_133, 86.0),
}
# Batch size: learning rate, warm-up epochs, momentum, weight decay, epochs.
_SUBMISSIONS = {
    40_448: (19.4, 24, 0.95, 1e-4, 70),
    57_344: (23.0, 32, 0.95, 2.5e-5, 80),
}

PAPER = dict(
    citation="MLPerf Training 4.0 (Mattson et al.)",
    title="MLPerf Training Benchmark, ResNet-50",
    arxiv="1910.01500",
    setting="ImageNet, ResNet-50: epochs to 75.9 % top-1, the median of the reference's runs",
    arms={
        **{
            f"resnet50_lars_{batch_size}": dict(
                accuracy=_TARGET,
                tag="secondary",
                note=f"the target, reached after a median of {median:g} epochs",
            )
            for batch_size, (*_, median) in _REFERENCE.items()
        },
        "resnet50_lars_57344": dict(
            accuracy=0.7618, tag="secondary", note="at epoch 77 of one run; 0.183 minutes"
        ),
    },
)

# The recipe scaled down: batch size: learning rate, warm-up epochs, epochs. Learning rates are
# those that you2017_lars chose on held-out data; epochs and warm-up grow as MLPerf's do.
_SMALL = dict(
    digits={32: (0.16, 1, 12), 128: (0.16, 3, 16), 359: (0.32, 9, 26)},
    mnist={256: (0.16, 1, 8), 1024: (0.32, 2, 9), 4096: (0.64, 5, 15)},
)
_SMALL_TARGETS = dict(digits=0.95, mnist=0.98)


def _epochs(batch_size):
    """Returns the reference's epochs; the header says how its decay steps are counted."""
    _, warmup_epochs, _, _, decay_steps, median = _REFERENCE[batch_size]
    decay_epochs = decay_steps * batch_size / _IMAGENET
    return round(decay_epochs if round(decay_epochs) > median else decay_epochs + warmup_epochs)


def _arm(batch_size, learning_rate, warmup_epochs, momentum, weight_decay, epochs):
    return dict(
        description=f"LARS, batch {batch_size:,}, learning rate {learning_rate:g}, {epochs} epochs",
        plan=dict(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            momentum=momentum,
            warmup_epochs=float(warmup_epochs),
        ),
        optimizer=dict(weight_decay=weight_decay),
    )


def _experiment(*, arms, trust_coefficient, **more):
    first = next(iter(arms.values()))
    return common.experiment(
        loss=dict(name="LabelSmoothingCrossentropy", from_logits=True, label_smoothing=0.1),
        optimizer=dict(name="LARS", trust_coefficient=trust_coefficient) | first["optimizer"],
        plan=common.polynomial_plan(final_learning_rate=1e-4, **first["plan"]),
        arms=arms,
        **more,
    )


def imagenet():
    """The reference's settings at each of its batch sizes, and two submissions'."""
    settings = {
        batch_size: (*values[:4], _epochs(batch_size)) for batch_size, values in _REFERENCE.items()
    }
    return _experiment(
        data=common.imagenet(),
        metrics=common.TOP_5,
        model=dict(name="resnet50", num_classes=1000, ghost_batch_size=32),
        trust_coefficient=0.001,
        arms={
            f"resnet50_lars_{batch_size}": _arm(batch_size, *values)
            for batch_size, values in sorted((settings | _SUBMISSIONS).items())
        },
        train=dict(validation_freq=4),
        targets=dict(val_accuracy=_TARGET),
        seeds=5,
    )


def _small(name, **more):
    """Returns our small variants: a network with batch norm, evaluated every epoch.

    LARS' trust coefficient suits small networks (you2017_lars says why).
    """
    return _experiment(
        trust_coefficient=0.1,
        arms={
            f"lars_{batch_size}": _arm(batch_size, rate, warmup_epochs, 0.9, 5e-4, epochs)
            for batch_size, (rate, warmup_epochs, epochs) in _SMALL[name].items()
        },
        targets=dict(val_accuracy=_SMALL_TARGETS[name]),
        **more,
    )


def digits():
    """Digits: 1,437 examples, batches of up to a quarter of them."""
    return _small(
        "digits",
        data=dict(name="digits", num_examples=1437),
        model=dict(
            name="small_cnn",
            num_classes=10,
            width=16,
            batch_normalization=True,
            ghost_batch_size=32,
        ),
        seeds=5,
    )


def mnist():
    """MNIST: 60,000 examples; a batch of 4,096 is 7 % of them, 14 updates per epoch."""
    return _small(
        "mnist",
        data=dict(name="mnist", num_examples=60_000),
        model=dict(
            name="small_cnn", num_classes=10, width=8, batch_normalization=True, ghost_batch_size=32
        ),
        seeds=3,
    )


get_config = common.variants(digits=digits, mnist=mnist, imagenet=imagenet)


def get_reference(variant="digits"):
    """Returns MLPerf's reference epochs by batch size; the scaled-down recipes have none."""
    if variant != "imagenet":
        return None
    return dict(
        source=_SOURCE,
        tag="secondary",
        target=dict(val_accuracy=_TARGET),
        epochs={batch_size: median for batch_size, (*_, median) in _REFERENCE.items()},
    )


def get_claims(variant="digits"):
    """Returns the claims of the reference's points and the tests that decide them."""
    variant = variant or "digits"
    target = _TARGET if variant == "imagenet" else _SMALL_TARGETS[variant]
    batches = list(_REFERENCE if variant == "imagenet" else _SMALL[variant])
    epochs = {size: _REFERENCE[size][-1] for size in batches} if variant == "imagenet" else {}
    prefix = "resnet50_" if variant == "imagenet" else ""
    arm, baseline = (f"{prefix}lars_{batches[place]}" for place in (-1, 0))
    common_keys = dict(source=_SOURCE, tag="secondary", arm=arm, baseline=baseline)
    return [
        dict(
            name="a_larger_batch_needs_more_epochs",
            statement=f"The batch of {batches[-1]:,} needs more epochs to the target than that of "
            f"{batches[0]:,}.",
            test="worse",
            metric=f"epochs_to_val_accuracy_at_least_{target}",
            paper=dict(arm=epochs[batches[-1]], baseline=epochs[batches[0]]) if epochs else {},
            **common_keys,
        ),
        dict(
            name="a_larger_batch_needs_fewer_updates",
            statement=f"It needs fewer updates to it, at most 1 / {10 if epochs else 2} of them.",
            test="ratio_at_least",
            ratio=10.0 if epochs else 2.0,
            metric=f"updates_to_val_accuracy_at_least_{target}",
            paper={
                key: round(epochs[size] * _IMAGENET / size)
                for key, size in (("arm", batches[-1]), ("baseline", batches[0]))
            }
            if epochs
            else {},
            **common_keys,
        ),
    ]
