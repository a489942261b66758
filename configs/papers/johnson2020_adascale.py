"""Johnson, Agrawal, Gu and Guestrin 2020, "AdaScale SGD: a user-friendly algorithm".

Paper: arXiv:2007.05105; its abstract, and what other texts say about its sections.
Claims: from a small batch's settings alone, AdaScale trains with much larger batches and keeps the
model's quality, far beyond the batch size at which linear learning rate scaling loses it, with or
without warm-up. It needs fewer updates than the small batch, and no new setting.

Variants (`--config=configs/papers/johnson2020_adascale.py:VARIANT`):
    digits         scikit-learn's digits, embedded; base batch 8, S = 4, 16 and 64; the default
    digits_tuning  tunes the base learning rate on a held-out fifth of the training split
    mnist          MNIST; base batch 32, S = 4 and 16
    mnist_tuning   tunes the base learning rate in the same way

With S = batch size / base batch size the arms are

    base_BATCH        the small batch; its learning rate falls linearly to 0
    adascale_BATCH    AdaScale; a run ends when its gains add up to the base's updates
    linear_BATCH      linear scaling: the base's epochs, S times the learning rate
    warmup_BATCH      linear scaling after a warm-up over 5/90 of the epochs, as in Goyal et al., at
                      the largest S
    unscaled_BATCH    the base's epochs and learning rate, at the largest S
    identity_BATCH    the base's updates and learning rate, so S times the epochs, at the smallest S

Only the base rate is tuned: the best of five, a factor of 2 apart, for the small batch, trained on
`train[:80%]` and evaluated on `train[80%:]`, never on the test split, with other seeds; ties go to
the smaller rate:

    python -m lbkeras.replication.selection runs/johnson2020_digits_tuning

AdaScale measures the gradients of S pieces, each of the base batch size, like the paper's S
workers; under a strategy with replicas it measures the replicas' gradients instead. Networks,
epochs and schedules are ours; the paper's tables were not available.

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.

    lbkeras replicate --config=configs/papers/johnson2020_adascale.py:digits \\
        --workdir=runs/johnson2020_digits
"""

from lbkeras import config as common

PAPER = dict(
    citation="Johnson, Agrawal, Gu and Guestrin 2020",
    title="AdaScale SGD: a user-friendly algorithm for distributed training",
    arxiv="2007.05105",
    setting="translation, images, detection and speech; no table of accuracies was at hand",
    arms={},
)

_BASE = dict(digits=8, mnist=32)
_LARGE = dict(digits=(32, 128, 512), mnist=(128, 512))
# The base's learning rates: the middle of those tried, and the chosen one, or None if none is
# chosen yet, in which case the arms take the middle. The rule chose from
#     digits   digits_tuning, 3 seeds, 2026-11-28: 97.7, 98.3, 97.9, 98.4 and 10.1 % (n=3); the best
#              of the first five was the largest, so they moved up by one.
_RATES = dict(digits=(0.01, 0.02), mnist=(0.01, None))
_WARMUP = 5 / 90  # of the epochs
_OF_LINEAR_SCALING = ("base_warmup_epochs", "scaling", "scale_warmup")


def _arms(name, epochs, plan):
    """The base, and at each larger batch AdaScale and its rivals."""
    base, larger = _BASE[name], _LARGE[name]
    arms = {f"base_{base}": dict(description=f"batch {base}")}
    for size in larger:
        scale = size // base
        arms[f"adascale_{size}"] = dict(
            description=f"AdaScale, batch {size:,}, S = {scale}",
            plan={key: value for key, value in plan.items() if key not in _OF_LINEAR_SCALING}
            | dict(name="ada_scale_plan", batch_size=size),
            callbacks=dict(AdaScale={}),
            train=dict(steps_per_execution=1),  # so that it ends at exactly the right update
        )
        arms[f"linear_{size}"] = dict(
            description=f"batch {size:,}, {scale} times the learning rate",
            plan=dict(batch_size=size, scaling="linear"),
        )
    smallest, largest = larger[0], larger[-1]
    return arms | {
        f"warmup_{largest}": dict(
            description=f"linear_{largest} after a warm-up",
            plan=arms[f"linear_{largest}"]["plan"] | dict(base_warmup_epochs=_WARMUP * epochs),
        ),
        f"unscaled_{largest}": dict(
            description=f"batch {largest:,}, nothing else changed", plan=dict(batch_size=largest)
        ),
        f"identity_{smallest}": dict(
            description=f"batch {smallest:,}, {smallest // base} times the epochs",
            plan=dict(batch_size=smallest, epochs=epochs * smallest // base),
        ),
    }


def _experiment(name, *, epochs, tuning, **more):
    base, (middle, chosen) = _BASE[name], _RATES[name]
    plan = dict(
        name="legw_plan",
        epochs=epochs,
        base_batch_size=base,
        batch_size=base,
        base_learning_rate=chosen or middle,
        base_warmup_epochs=0.0,
        momentum=0.9,
        decay="polynomial",
        power=1.0,
        scaling="none",
        scale_warmup=False,
    )
    arms = _arms(name, epochs, plan)
    if tuning:
        arms = {
            common.rate_arm(f"base_{base}", rate): dict(
                description=f"batch {base}, from {rate:g}", plan=dict(base_learning_rate=rate)
            )
            for rate in common.rates_around(middle)
        }
    return common.experiment(
        optimizer=dict(name="SGD"), plan=plan, arms=arms, tuning=tuning, **more
    )


def digits(tuning=False):
    """Digits: 1,437 examples; at S = 64 a batch is a third of them, so 2 updates per epoch."""
    return _experiment(
        "digits",
        data=dict(name="digits", num_examples=1437),
        model=dict(name="small_cnn", num_classes=10, width=8),
        epochs=20,
        tuning=tuning,
        seeds=3 if tuning else 8,
    )


def mnist(tuning=False):
    """MNIST: 60,000 examples, a base run of 3 epochs.

    The gradient noise scale is about 60 examples in the first epoch, so a batch of 512 has a gain
    of 2.6 there, and AdaScale takes about 8 epochs. A larger batch would take too long on a CPU.
    """
    return _experiment(
        "mnist",
        data=dict(name="mnist", num_examples=60_000),
        model=dict(name="small_cnn", num_classes=10, width=8),
        epochs=3,
        tuning=tuning,
        seeds=1 if tuning else 3,
    )


get_config = common.variants(
    digits=digits,
    mnist=mnist,
)


def get_claims(variant="digits"):
    """Returns the paper's claims and the tests that decide them (lbkeras.replication.claims)."""
    variant = variant or "digits"
    if variant.endswith("_tuning"):
        return []
    base, larger = f"base_{_BASE[variant]}", _LARGE[variant]
    identity = f"identity_{larger[0]}"
    return [
        *(_keeps_accuracy(size, base) for size in larger),
        *(_loses_accuracy(rule, larger[-1]) for rule in ("linear", "warmup")),
        *(_saves_updates(size, base) for size in larger),
        dict(
            name=f"adascale_{larger[0]}_needs_fewer_examples_than_identity",
            statement="It needs fewer examples than as many updates as the small batch's.",
            source=f"{PAPER['citation']}, as others quote it",
            tag="secondary",
            test="ratio_at_least",
            arm=f"adascale_{larger[0]}",
            baseline=identity,
            metric="examples_seen",
            ratio=1.0,
        ),
    ]


def _keeps_accuracy(size, base):
    return dict(
        name=f"adascale_{size}_keeps_accuracy",
        statement=f"From the small batch's settings, AdaScale with batch {size:,} has its test "
        "accuracy.",
        source=f"{PAPER['citation']}, abstract",
        tag="stated",
        test="not_worse",
        arm=f"adascale_{size}",
        baseline=base,
        metric="val_accuracy",
        margin=0.01,
    )


def _loses_accuracy(rule, size):
    words = dict(linear="scaling", warmup="scaling after a warm-up")[rule]
    return dict(
        name=f"{rule}_{size}_is_worse_than_adascale",
        statement=f"At batch {size:,} linear {words} has a lower test accuracy than AdaScale.",
        source=f"{PAPER['citation']}, abstract",
        tag="stated",
        test="worse",
        arm=f"{rule}_{size}",
        baseline=f"adascale_{size}",
        metric="val_accuracy",
    )


def _saves_updates(size, base):
    return dict(
        name=f"adascale_{size}_saves_updates",
        statement=f"With batch {size:,} AdaScale needs at most half of the small batch's updates.",
        source=f"{PAPER['citation']}, abstract (speed-ups for a wide range of batch sizes); the "
        "half is ours",
        tag="stated",
        test="ratio_at_least",
        arm=f"adascale_{size}",
        baseline=base,
        metric="updates",
        ratio=2.0,
    )
