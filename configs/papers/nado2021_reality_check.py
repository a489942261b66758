"""Nado et al. 2021, "A large batch optimizer reality check": tuned Nesterov beside LARS.

Paper: arXiv:2102.06356; its text was not available. Sources are quotes by others, MLPerf's code and
what we recall.
Claim: with the same tuning of all its settings, Nesterov momentum trains ResNet-50 at batch 32,768
to 75.9 % in as many updates as LARS; the apparent need for LARS came from less tuning.

Variants (`--config=configs/papers/nado2021_reality_check.py:VARIANT`):
    digits          scikit-learn's digits, embedded; batch of 359; the default
    digits_tuning   16 trials of each optimizer on a held-out fifth of the training split
    mnist           MNIST; batches of 4,096 and 15,000
    mnist_tuning    16 trials of each optimizer and batch size in the same way
    imagenet        ResNet-50, batch 32,768, 64 epochs: both with the paper's settings

The small variants use the networks, batch sizes and epochs at which momentum SGD was worse than
LARS in you2017_lars, where only the learning rate was tuned. Here each optimizer has the same
budget: 16 settings of learning rate, 1 − momentum and weight decay (on a logarithmic scale),
warm-up and label smoothing. They are the middle and a Latin hypercube of the same ranges, except
the learning rate's: its range is equally wide for both, but LARS' is a factor of 2 higher, as LARS
with trust coefficient 0.1 needs larger rates. Tuning trains on `train[:80%]`, evaluates on
`train[80%:]`, never on the test split, and uses other seeds. The highest mean val_accuracy wins;
ties go to the first trial; a trial in which a run diverged is excluded. This applies the rule:

    python -m lbkeras.replication.selection runs/nado2021_mnist_tuning

Where no trial is chosen yet, an arm takes the first one, the middle of all ranges.

ImageNet: LARS' learning rate, momentum, decay, warm-up and schedule are from MLPerf's code of 2020
(secondary), its gamma is recalled; every setting of Nesterov is recalled. Both have 2,512 updates
in the paper, 157 for every 4 epochs, rounded up; here the remainder of each epoch is dropped, which
makes 39 x 64 = 2,496. The warm-ups have the paper's lengths, 706 and 638 updates. Nesterov's decay
("2,505 decay steps") ends with the training here, but 7 updates before its end in the paper. Ghost
batches have 64 examples. The paper counts a success if the median of 50 seeds reaches the target.

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.
Not run by us: imagenet (weeks on 2 CPU cores).

    lbkeras replicate --config=configs/papers/nado2021_reality_check.py:mnist --workdir=runs/nado
"""

from lbkeras import config as common

_STEPS = 39  # updates per epoch of ImageNet at batch 32,768
_TARGETS = dict(digits=0.95, mnist=0.95, imagenet=0.759)
_WORDS = dict(lars="LARS", nesterov="Nesterov momentum")

PAPER = dict(
    citation="Nado et al. 2021",
    title="A large batch optimizer reality check",
    arxiv="2102.06356",
    setting="ImageNet, ResNet-50 at batch 32,768: the target that the median of 50 seeds reaches",
    arms=dict(
        lars_32768=dict(accuracy=0.759, updates=2512, tag="secondary", note="reached or exceeded"),
        nesterov_32768=dict(
            accuracy=0.759, updates=2512, tag="secondary", note="reached or exceeded"
        ),
    ),
)

# The settings that a trial varies, with their ranges; only the rate's depends on the optimizer.
_RATES = dict(lars=(0.04, 4.0), nesterov=(0.02, 2.0))
_RANGES = dict(
    one_minus_momentum=(0.03, 0.5),
    weight_decay=(1e-5, 1e-2),
    warmup_fraction=(0.0, 0.5, "linear"),
    label_smoothing=(0.0, 0.2, "linear"),
)
_TRIALS = 16

# The chosen trial of each arm, or None if none is chosen yet: the arm then takes the first.
#     digits   digits_tuning, 3 seeds, 2026-11-28: 99.19 ± 0.20 % with LARS, 97.33 ± 0.73 % with
#              Nesterov momentum on the held-out fifth.
_CHOSEN = dict(
    digits=dict(lars_359=0, nesterov_359=13),
    mnist=dict(lars_4096=None, nesterov_4096=None, lars_15000=None, nesterov_15000=None),
)


def _arm(
    optimizer,
    batch_size,
    epochs,
    *,
    learning_rate,
    one_minus_momentum,
    weight_decay,
    label_smoothing,
    warmup_epochs,
    trust_coefficient,
    final_learning_rate=0.0,
    **model,
):
    """Returns an arm with coupled weight decay on kernels: in SGD's loss, or in LARS itself."""
    sections = dict(
        description=f"{_WORDS[optimizer]}, batch {batch_size:,}, learning rate {learning_rate:g}, "
        f"momentum {1 - one_minus_momentum:.5g}, weight decay {weight_decay:g}, "
        f"{warmup_epochs:.3g} epochs of warm-up, label smoothing {label_smoothing:g}",
        loss=dict(
            name="LabelSmoothingCrossentropy", from_logits=True, label_smoothing=label_smoothing
        ),
        plan=common.polynomial_plan(
            epochs,
            batch_size,
            learning_rate,
            warmup_epochs,
            momentum=round(1 - one_minus_momentum, 6),
            final_learning_rate=final_learning_rate,
        ),
        optimizer=dict(name="SGD", nesterov=True),
        model=dict(weight_decay=weight_decay, **model),
    )
    if optimizer == "lars":
        sections["optimizer"] = dict(
            name="LARS", trust_coefficient=trust_coefficient, weight_decay=weight_decay
        )
        sections["model"]["weight_decay"] = 0.0
    return sections


def _experiment(*, data, model, arms, **more):
    first = next(iter(arms.values()))
    return common.experiment(
        data=data,
        model=model,
        loss=first["loss"],
        optimizer=first["optimizer"],
        plan=first["plan"],
        arms=arms,
        **more,
    )


def _trial(optimizer, batch_size, epochs, settings):
    """Returns an arm of a small variant, with a LARS trust coefficient for small networks."""
    settings = dict(settings)
    warmup_epochs = epochs * settings.pop("warmup_fraction")
    return _arm(
        optimizer,
        batch_size,
        epochs,
        warmup_epochs=warmup_epochs,
        trust_coefficient=0.1,
        **settings,
    )


def _small(name, epochs, tuning, **more):
    """Returns a reported variant, an arm per optimizer and batch size, or its tuning variant."""
    arms = {}
    for arm, chosen in _CHOSEN[name].items():
        optimizer, batch_size = arm.split("_")
        tried = common.trials(_TRIALS, learning_rate=_RATES[optimizer], **_RANGES)
        if not tuning:
            arms[arm] = _trial(optimizer, int(batch_size), epochs, tried[chosen or 0])
            continue
        for number, settings in enumerate(tried):
            arms[f"{arm}_trial_{number}"] = _trial(optimizer, int(batch_size), epochs, settings)
    targets = dict(val_accuracy=_TARGETS[name])
    return _experiment(arms=arms, tuning=tuning, targets=targets, **more)


def digits(tuning=False):
    """Digits: 1,437 examples, a batch of a quarter of them, a network without normalization."""
    return _small(
        "digits",
        epochs=20,
        tuning=tuning,
        data=dict(name="digits", num_examples=1437),
        model=dict(name="small_cnn", num_classes=10, width=16),
        seeds=3 if tuning else 10,
    )


def mnist(tuning=False):
    """MNIST: 60,000 examples; 140 updates at batch 4,096, 40 at 15,000."""
    return _small(
        "mnist",
        epochs=10,
        tuning=tuning,
        data=dict(name="mnist", num_examples=60_000),
        model=dict(name="small_cnn", num_classes=10, width=8, batch_normalization=True),
        seeds=1 if tuning else 5,
    )


def imagenet():
    """Both optimizers as published; the header says which settings are recalled."""
    settings = dict(trust_coefficient=0.001, batch_size=32_768, epochs=64)
    arms = dict(
        lars_32768=_arm(
            "lars",
            learning_rate=29.0,
            one_minus_momentum=0.071,
            weight_decay=1e-4,
            label_smoothing=0.1,
            warmup_epochs=706 / _STEPS,
            final_learning_rate=1e-4,
            last_gamma=0.0,
            **settings,
        ),
        nesterov_32768=_arm(
            "nesterov",
            learning_rate=7.05,
            one_minus_momentum=0.02397,
            weight_decay=5.8e-5,
            label_smoothing=0.15,
            warmup_epochs=638 / _STEPS,
            final_learning_rate=6e-6,
            last_gamma=0.4138,
            **settings,
        ),
    )
    return _experiment(
        data=common.imagenet(),
        metrics=common.TOP_5,
        model=dict(name="resnet50", num_classes=1000, ghost_batch_size=64),
        arms=arms,
        train=dict(validation_freq=4),
        targets=dict(val_accuracy=_TARGETS["imagenet"]),
        seeds=5,
    )


get_config = common.variants(
    digits=digits,
    mnist=mnist,
    imagenet=imagenet,
)


def get_claims(variant="digits"):
    """Returns the paper's claims and the tests that decide them (lbkeras.replication.claims)."""
    variant = variant or "digits"
    if variant.endswith("_tuning"):
        return []
    batches = [32_768] if variant == "imagenet" else _batches(variant)
    target = f"val_accuracy_at_least_{_TARGETS[variant]}"
    return [claim for size in batches for claim in (_keeps_up(size), _as_few_updates(size, target))]


def _batches(variant):
    return sorted({int(arm.split("_")[1]) for arm in _CHOSEN[variant]})


def _keeps_up(batch_size):
    return dict(
        name=f"nesterov_equals_lars_at_{batch_size}",
        statement=f"At batch {batch_size:,} Nesterov momentum, with the same tuning, is as good as "
        "LARS after as many updates.",
        source=f"{PAPER['citation']}, as others quote it",
        tag="secondary",
        test="not_worse",
        arm=f"nesterov_{batch_size}",
        baseline=f"lars_{batch_size}",
        metric="val_accuracy",
        margin=0.01,
        paper=dict(arm=0.759, baseline=0.759) if batch_size == 32_768 else {},
    )


def _as_few_updates(batch_size, target):
    return dict(
        name=f"nesterov_reaches_the_target_as_fast_at_{batch_size}",
        statement="It reaches the target in at most a tenth more updates.",
        source=f"{PAPER['citation']}, as others quote it: both in 2,512",
        tag="secondary",
        test="ratio_at_least",
        arm=f"nesterov_{batch_size}",
        baseline=f"lars_{batch_size}",
        metric=f"updates_to_{target}",
        ratio=1 / 1.1,
        paper=dict(arm=2512, baseline=2512) if batch_size == 32_768 else {},
    )
