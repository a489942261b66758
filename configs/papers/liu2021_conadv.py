"""Liu et al. 2021, "Concurrent Adversarial Learning for Large-Batch Training" (ConAdv).

Paper: arXiv:2106.00221; its text was not available, only its abstract and what others quote.
Claim: training on each batch and on adversarial copies of it, made with the previous step's
weights, narrows the accuracy gap of large batches: ResNet-50 at batch 98,304 reaches 75.3 %, with
LARS alone 74.3 %.

Variants (`--config=configs/papers/liu2021_conadv.py:VARIANT`):
    digits           scikit-learn's digits, embedded; batches of 359 and 718; the default
    digits_tuning    8 trials of each arm on a held-out fifth of the training split
    mnist            a tenth of MNIST's training images; a batch of 1,500
    mnist_tuning     6 trials of each arm on a held-out fifth of those images
    cifar10          CIFAR-10, ResNet-8 with 8 filters; batches of 5,120 and 12,500
    cifar10_tuning   8 trials of each arm in the same way
    imagenet         ResNet-50, 90 epochs; batches of 32,768, 65,536 and 98,304

An arm with copies trains on twice as many examples in the same number of updates. Its learning rate
and epsilon are tuned together; epsilon is the largest change of a pixel in the pixel's own unit (0
to 16 for digits, 0 to 255 elsewhere). LARS alone gets as many trials of its learning rate, over the
same range. The highest mean val_accuracy on the held-out data wins, without a look at the test
split; ties go to the first trial; a trial in which a run diverged is excluded. This applies the
rule:

    python -m lbkeras.replication.selection runs/liu2021_digits_tuning

Where no trial is chosen yet, an arm takes the first one, the middle of all ranges. The accuracy
under FGSM is measured with the final weights on the test split, whose pixels a one-step white-box
attack moves by a tenth of their range (ImageNet: 2 of 255). No setting is chosen by it.

ImageNet: the accuracies of LARS, the 90 epochs, linear warm-up and label smoothing are quoted by
others. The learning rate at 32,768 is that of a reproduction of LARS; for larger batches it grows
with the square root of the batch size and the warm-up epochs with the batch size (LEGW). Epsilon is
a guess.

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.
Not run by us, except as a dry run: cifar10 and imagenet.

    lbkeras replicate --config=configs/papers/liu2021_conadv.py:digits --workdir=runs/liu2021_digits
"""

from lbkeras import config as common

_LARS = {4096: 0.769, 8192: 0.766, 16_384: 0.766, 32_768: 0.766, 65_536: 0.753, 98_304: 0.743}

PAPER = dict(
    citation="Liu et al. 2021",
    title="Concurrent Adversarial Learning for Large-Batch Training",
    arxiv="2106.00221",
    setting="ImageNet, ResNet-50, 90 epochs",
    arms=dict(
        **{f"lars_{size}": dict(accuracy=a, tag="secondary") for size, a in _LARS.items()},
        conadv_98304=dict(accuracy=0.753, tag="stated", note="76.2 with AutoAugment"),
    ),
)

# The settings that a trial varies, with their ranges.
_RATE = (0.08, 1.28)
_EPSILON = dict(digits=(0.25, 4.0), mnist=(2.0, 64.0), cifar10=(0.5, 16.0))
_OF_THE_TEST = dict(digits=1.6, mnist=25.5, cifar10=25.5, imagenet=2.0)
_TRIALS = dict(digits=8, mnist=6, cifar10=8)

# The chosen trial of each arm, or None if none is chosen yet: the arm then takes the first.
#     digits   digits_tuning, 1 seed, 2026-11-28: at 359 both LARS alone and copies reach 99.3 %, at
#              718 98.6 and 96.9 %; copies fell to chance at learning rates above 0.7, LARS above 1.
_CHOSEN = dict(
    digits=dict(lars_359=0, conadv_359=6, lars_718=6, conadv_718=1),
    mnist=dict(lars_1500=None, conadv_1500=None),
    cifar10=dict(lars_5120=None, conadv_5120=None, lars_12500=None, conadv_12500=None),
)


def _arm(kind, batch_size, learning_rate, epsilon=None, **plan):
    words = f"LARS, batch {batch_size:,}, learning rate {learning_rate:g}"
    arm = dict(
        description=words,
        plan=dict(batch_size=batch_size, learning_rate=learning_rate) | plan,
    )
    if kind == "conadv":
        arm["description"] += f", with adversarial copies, epsilon {epsilon:g}"
        arm["callbacks"] = dict(ConcurrentAdversarial=dict(epsilon=epsilon))
    return arm


def _experiment(name, *, epochs, warmup_epochs, arms, trust_coefficient, weight_decay, **more):
    first = next(iter(arms.values()))["plan"]
    return common.experiment(
        optimizer=dict(name="LARS", trust_coefficient=trust_coefficient, weight_decay=weight_decay),
        plan=common.polynomial_plan(
            epochs, first["batch_size"], first["learning_rate"], warmup_epochs
        ),
        callbacks=dict(AdversarialAccuracy=dict(epsilon=_OF_THE_TEST[name])),
        arms=arms,
        **more,
    )


def _small(name, tuning, *, data, held_out=None, **more):
    """Returns a reported variant, with arms for LARS alone and with copies, or its tuning variant.

    Trust coefficient and weight decay are those of you2017_lars.py.
    """
    arms = {}
    for arm, chosen in _CHOSEN[name].items():
        kind, batch_size = arm.split("_")
        ranges = dict(learning_rate=_RATE)
        if kind == "conadv":
            ranges["epsilon"] = _EPSILON[name]
        tried = common.trials(_TRIALS[name], **ranges)
        if not tuning:
            arms[arm] = _arm(kind, int(batch_size), **tried[chosen or 0])
            continue
        for number, settings in enumerate(tried):
            arms[f"{arm}_trial_{number}"] = _arm(kind, int(batch_size), **settings)
    if tuning:
        data = held_out or common.held_out(data)
        more["first_seed"] = common.FIRST_TUNING_SEED
    return _experiment(name, data=data, arms=arms, trust_coefficient=0.1, weight_decay=5e-4, **more)


def digits(tuning=False):
    """Digits: 1,437 examples; 240 updates at batch 359, 120 at batch 718.

    A first try with 20 epochs could not show a generalization gap: LARS alone did not learn the
    digits at batch 718 (at best 86.8 % on the held-out data, four rates, one seed).
    """
    return _small(
        "digits",
        tuning,
        data=dict(name="digits", num_examples=1437),
        model=dict(name="small_cnn", num_classes=10, width=8, batch_normalization=True),
        epochs=60,
        warmup_epochs=6.0,
        seeds=1 if tuning else 8,
    )


def mnist(tuning=False):
    """A tenth of MNIST, as copies triple the time; a batch is a quarter of it, 120 updates."""
    data = dict(name="mnist", train_split="train[:10%]", num_examples=6000)
    held_out = dict(train_split="train[:8%]", test_split="train[8%:10%]", num_examples=4800)
    return _small(
        "mnist",
        tuning,
        data=data,
        held_out=data | held_out,
        model=dict(name="small_cnn", num_classes=10, width=8, batch_normalization=True),
        epochs=30,
        warmup_epochs=3.0,
        train=dict(validation_freq=10),  # as the test split is larger than the training data
        seeds=1 if tuning else 3,
    )


def cifar10(tuning=False):
    """CIFAR-10 with a ResNet small enough for two CPU cores."""
    return _small(
        "cifar10",
        tuning,
        data=dict(name="cifar10", num_examples=50_000),
        model=dict(name="cifar_resnet", num_classes=10, depth=8, width=8, zero_gamma=True),
        epochs=20,
        warmup_epochs=2.0,
        seeds=1 if tuning else 3,
    )


def imagenet():
    """ResNet-50; the header says which settings are quoted, derived or guessed."""
    arms = {}
    for batch_size in (98_304, 65_536, 32_768):
        times = batch_size / 32_768
        settings = dict(learning_rate=round(29.0 * times**0.5, 1), warmup_epochs=5.0 * times)
        arms[f"lars_{batch_size}"] = _arm("lars", batch_size, **settings)
        arms[f"conadv_{batch_size}"] = _arm("conadv", batch_size, epsilon=2.0, **settings)
    return _experiment(
        "imagenet",
        data=common.imagenet(),
        metrics=common.TOP_5,
        model=dict(name="resnet50", num_classes=1000),
        loss=dict(name="LabelSmoothingCrossentropy", from_logits=True, label_smoothing=0.1),
        epochs=90,
        warmup_epochs=5.0,
        arms=arms,
        trust_coefficient=0.001,
        weight_decay=1e-4,
        train=dict(validation_freq=5),
        seeds=3,
    )


get_config = common.variants(
    digits=digits,
    mnist=mnist,
    cifar10=cifar10,
    imagenet=imagenet,
)


def get_claims(variant="digits"):
    """Returns the paper's claims and the tests that decide them (lbkeras.replication.claims)."""
    variant = variant or "digits"
    if variant.endswith("_tuning"):
        return []
    batches = [32_768, 65_536, 98_304]
    if variant != "imagenet":
        batches = sorted({int(arm.split("_")[1]) for arm in _CHOSEN[variant]})
    return [claim for size in batches for claim in (_gains(size), _resists(size))]


def _gains(batch_size):
    arms = f"lars_{batch_size}", f"conadv_{batch_size}"
    papers = [PAPER["arms"].get(arm, {}).get("accuracy") for arm in arms]
    return dict(
        name=f"lars_is_worse_at_{batch_size}",
        statement=f"At batch {batch_size:,} LARS alone has a lower test accuracy than with "
        "concurrent adversarial learning, after as many epochs.",
        source=f"{PAPER['citation']}, abstract; LARS' accuracy as others quote it",
        tag="both",
        test="worse",
        arm=arms[0],
        baseline=arms[1],
        metric="val_accuracy",
        paper=dict(zip(("arm", "baseline"), papers, strict=True)) if all(papers) else {},
    )


def _resists(batch_size):
    return dict(
        name=f"lars_is_less_robust_at_{batch_size}",
        statement=f"At batch {batch_size:,} LARS alone has a lower accuracy under FGSM.",
        source=f"{PAPER['citation']}, of which it is the method's premise; no number was at hand",
        tag="recalled",
        test="worse",
        arm=f"lars_{batch_size}",
        baseline=f"conadv_{batch_size}",
        metric="val_fgsm_accuracy",
    )
