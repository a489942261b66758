"""You et al. 2020, "Large batch optimization for deep learning": LAMB, untuned at large batches.

Paper: arXiv:1904.00962; its abstract, and its untuned recipe for ResNet-50 as others quote it.
Claims: LAMB trains with very large batches without losing accuracy and with hardly any tuning. A
rule carries the settings tuned at a small batch to k times the batch: the learning rate times the
square root of k, and k times the warm-up epochs. AdamW loses accuracy there.

Variants (`--config=configs/papers/you2020_lamb.py:VARIANT`):
    digits         scikit-learn's digits, embedded; batches of 16, 64 and 359; the default
    digits_tuning  tunes its learning rates on a held-out fifth of the training split
    mnist          MNIST; batches of 128, 1,024 and 8,192
    mnist_tuning   tunes its learning rates in the same way
    imagenet       ResNet-50, 90 epochs, batches of 512 to 32,768: the untuned recipe

Both optimizers get the same tuning: five learning rates, a factor of 2 apart, at the smallest
batch. Arms lamb_BATCH and adamw_BATCH scale the chosen rate by the rule above. Arms
retuned_lamb_BATCH and retuned_adamw_BATCH have the best of five at the largest batch itself, with
the same warm-up: they separate the rule's effect from the optimizer's. Tuning trains on
`train[:80%]`, evaluates on `train[80%:]`, never on the test split, and uses other seeds. The
highest mean val_accuracy wins; ties go to the smaller rate; a rate at which a run diverged is
excluded:

    python -m lbkeras.replication.selection runs/you2020_digits_tuning

Weight decay is 0.01 for both: in LAMB inside the trust ratio and for kernels only, in AdamW as in
Keras, for every variable. Epochs, warm-ups and networks of digits and MNIST are ours; the learning
rate falls linearly after the warm-up, as in the paper's BERT. For ImageNet, learning rates and
warm-ups are recalled; the linear decay, the weight decay and the augmentation are guesses;
accuracies are quoted for batches of 2,048 and above.

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.
Not run by us: imagenet (weeks on 2 CPU cores).

    lbkeras replicate --config=configs/papers/you2020_lamb.py:digits --workdir=runs/you2020_digits
"""

from lbkeras import config as common

PAPER = dict(
    citation="You et al. 2020",
    title="Large batch optimization for deep learning: training BERT in 76 minutes",
    arxiv="1904.00962",
    setting="ImageNet, ResNet-50, 90 epochs, LAMB untuned, batches of 2,048 to 32,768",
    arms=dict(
        lamb_2048=dict(accuracy=0.7711, tag="secondary"),
        lamb_4096=dict(accuracy=0.7692, tag="secondary"),
        lamb_8192=dict(accuracy=0.7689, tag="secondary"),
        lamb_16384=dict(accuracy=0.7666, tag="secondary"),
        lamb_32768=dict(accuracy=0.7642, tag="secondary"),
    ),
)

_BATCHES = dict(
    digits=(16, 64, 359),
    mnist=(128, 1024, 8192),
    imagenet=(512, 1024, 2048, 4096, 8192, 16_384, 32_768),
)
# Learning rates: the middle of those tried, and the chosen one, or None if none is chosen yet, in
# which case an arm takes the middle. The rule chose from
#     digits   digits_tuning, 3 seeds, 2026-11-28. At batch 16 the held-out data hardly tell the
#              rates apart: LAMB 99.0, 99.4, 99.2, 99.4, 99.2 %, AdamW 98.1, 98.7, 98.7, 98.9, 98.9.
_RATES = dict(
    digits=dict(
        lamb=(0.005, 0.0025),
        adamw=(0.002, 0.004),
        retuned_lamb=(0.02, 0.04),
        retuned_adamw=(0.02, 0.04),
    ),
    mnist=dict(
        lamb=(0.005, None),
        adamw=(0.002, None),
        retuned_lamb=(0.02, None),
        retuned_adamw=(0.02, None),
    ),
)
_OPTIMIZERS = dict(
    lamb=dict(name="LAMB", weight_decay=0.01),
    adamw=dict(name="AdamW", weight_decay=0.01),
)
_WORDS = dict(lamb="LAMB", adamw="AdamW")


def _plan(batches, epochs, base_warmup_epochs, learning_rate):
    """Square-root scaling, linear-epoch warm-up from the first batch, then linear decay to 0."""
    return dict(
        name="legw_plan",
        epochs=epochs,
        base_batch_size=batches[0],
        batch_size=batches[0],
        base_learning_rate=learning_rate,
        base_warmup_epochs=base_warmup_epochs,
        momentum=0.0,
        decay="polynomial",
        power=1.0,
        scaling="square_root",
    )


def _arm(optimizer, batch_size, learning_rate):
    """Returns an arm that scales the smallest batch's learning rate by the rule."""
    return dict(
        description=f"{_WORDS[optimizer]}, batch {batch_size:,}, by the rule from "
        f"{learning_rate:.4g} at the smallest batch",
        optimizer=_OPTIMIZERS[optimizer],
        plan=dict(batch_size=batch_size, base_learning_rate=learning_rate),
    )


def _tuned_arm(group, batches, learning_rate):
    """Returns an arm with its own learning rate, for a group of `_RATES`."""
    optimizer, batch_size = group.split("_")[-1], batches[-1] if "_" in group else batches[0]
    return dict(
        description=f"{_WORDS[optimizer]}, batch {batch_size:,}, its own learning rate "
        f"{learning_rate:.4g}",
        optimizer=_OPTIMIZERS[optimizer],
        plan=dict(batch_size=batch_size, base_learning_rate=learning_rate, scaling="none"),
    )


def _arms(name, tuning):
    """Returns each optimizer at each batch size and retuned at the last, or the tuning's arms."""
    arms, batches = {}, _BATCHES[name]
    for group, (middle, chosen) in _RATES[name].items():
        if tuning:
            arms |= {
                common.rate_arm(group, rate): _tuned_arm(group, batches, rate)
                for rate in common.rates_around(middle)
            }
        elif "_" in group:
            arms[f"{group}_{batches[-1]}"] = _tuned_arm(group, batches, chosen or middle)
        else:
            arms |= {f"{group}_{size}": _arm(group, size, chosen or middle) for size in batches}
    return arms


def _experiment(name, *, epochs, base_warmup_epochs, tuning, **more):
    first_rate = _RATES[name]["lamb"][0]
    return common.experiment(
        optimizer=_OPTIMIZERS["lamb"],
        plan=_plan(_BATCHES[name], epochs, base_warmup_epochs, first_rate),
        arms=_arms(name, tuning),
        tuning=tuning,
        **more,
    )


def digits(tuning=False):
    """Digits: 1,437 examples; the largest batch, a quarter of them, makes 80 updates."""
    return _experiment(
        "digits",
        data=dict(name="digits", num_examples=1437),
        model=dict(name="small_cnn", num_classes=10, width=16),
        epochs=20,
        base_warmup_epochs=0.1,
        tuning=tuning,
        seeds=3 if tuning else 10,
    )


def mnist(tuning=False):
    """MNIST with batch normalization; the largest batch, a seventh of it, makes 70 updates."""
    return _experiment(
        "mnist",
        data=dict(name="mnist", num_examples=60_000),
        model=dict(name="small_cnn", num_classes=10, width=8, batch_normalization=True),
        epochs=10,
        base_warmup_epochs=0.06,
        tuning=tuning,
        seeds=1 if tuning else 3,
    )


def imagenet():
    """ResNet-50, untuned: 0.04 at batch 32,768 after 20 warm-up epochs, less at smaller batches."""
    batches = _BATCHES["imagenet"]
    learning_rate = 0.04 / 2**3
    return common.experiment(
        data=common.imagenet(),
        model=dict(name="resnet50", num_classes=1000),
        metrics=common.TOP_5,
        optimizer=_OPTIMIZERS["lamb"],
        plan=_plan(batches, 90, 0.3125, learning_rate),
        arms={f"lamb_{size}": _arm("lamb", size, learning_rate) for size in batches},
        seeds=1,
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
    batches = _BATCHES[variant]
    if variant == "imagenet":
        quoted = [size for size in batches if f"lamb_{size}" in PAPER["arms"]]
        return [_keeps_accuracy(size, quoted[0]) for size in quoted[1:]]
    largest = batches[-1]
    return [
        *(_keeps_accuracy(size, batches[0]) for size in batches[1:]),
        dict(
            name=f"adamw_{largest}_is_worse_than_lamb",
            statement=f"At batch {largest:,} AdamW, carried there by the same rule, has a lower "
            "test accuracy than LAMB.",
            source=f"{PAPER['citation']}, comparison with other optimizers",
            tag="recalled",
            test="worse",
            arm=f"adamw_{largest}",
            baseline=f"lamb_{largest}",
            metric="val_accuracy",
        ),
        dict(
            name=f"retuned_adamw_{largest}_is_worse_than_lamb",
            statement="Tuned at that batch itself, AdamW still has a lower test accuracy than LAMB "
            "untuned.",
            source=f"{PAPER['citation']}, comparison with other optimizers",
            tag="recalled",
            test="worse",
            arm=f"retuned_adamw_{largest}",
            baseline=f"lamb_{largest}",
            metric="val_accuracy",
        ),
        dict(
            name=f"lamb_{largest}_needs_no_tuning",
            statement=f"At batch {largest:,} LAMB by the rule is as good as with the best of five "
            "learning rates there.",
            source=f"{PAPER['citation']}, abstract",
            tag="stated",
            test="not_worse",
            arm=f"lamb_{largest}",
            baseline=f"retuned_lamb_{largest}",
            metric="val_accuracy",
            margin=0.01,
        ),
    ]


def _keeps_accuracy(batch_size, smallest):
    arm, baseline = f"lamb_{batch_size}", f"lamb_{smallest}"
    numbers = [PAPER["arms"].get(name, {}).get("accuracy") for name in (arm, baseline)]
    return dict(
        name=f"{arm}_keeps_accuracy",
        statement=f"By the rule and without tuning, LAMB with batch {batch_size:,} has the test "
        f"accuracy of batch {smallest:,} after the same epochs.",
        source=f"{PAPER['citation']}, abstract",
        tag="stated",
        test="not_worse",
        arm=arm,
        baseline=baseline,
        metric="val_accuracy",
        margin=0.01,
        paper={} if None in numbers else dict(zip(("arm", "baseline"), numbers, strict=True)),
    )
