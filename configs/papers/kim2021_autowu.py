"""Kim et al. 2021, "Automated learning rate scheduler for large-batch training" (AutoWU).

Paper: arXiv:2107.05855; settings from the authors' code, github.com/kakaobrain/autowu.
Claim: at every batch size, AutoWU without any tuning is as good as a tuned learning rate with
warm-up and the same decay.

Variants (`--config=configs/papers/kim2021_autowu.py:VARIANT`):
    digits          scikit-learn's digits, embedded; batches of 32, 128 and 359; the default
    digits_tuning   tunes the baseline's learning rates on a held-out fifth of the training split
    mnist           MNIST; batches of 256, 2,048 and 8,192
    mnist_tuning    tunes the baseline's learning rates in the same way
    mnist_bn        the same network with batch norm; batches of 2,048 and 8,192
    mnist_bn_tuning tunes the baseline's learning rates in the same way
    cifar10         CIFAR-10, ResNet-8 with 8 filters; batches of 128, 1,024 and 5,120
    cifar10_tuning  tunes the baseline's learning rates in the same way
    imagenet        ResNet-50 and EfficientNet-B0, 120 epochs, batches of 4,096 and 16,384
    imagenet_tuning tunes the baseline's learning rates in the same way

All arms train with AdamP as in the paper (delta 0.1, weight decay 0.1, a tenth of it on projected
weights). An arm auto_wu_BATCH warms up from 1e-5 towards 1 until AutoWU stops it, then decays along
a half cosine; its batch size is its only setting. An arm tuned_BATCH has the best of five learning
rates, a factor of 2 apart, with a linear warm-up over a tenth of the epochs and the same decay.
Tuning trains on `train[:80%]`, evaluates on `train[80%:]`, and uses other seeds. The highest mean
val_accuracy wins; ties go to the smaller rate; a rate at which a run diverged is excluded:

    python -m lbkeras.replication.selection runs/kim2021_mnist_tuning

AutoWU needs many epochs, here as in the paper: it goes back only three epochs after the loss's
minimum. In each of them the learning rate grows by a factor of 10^(5 / epochs of the longest
warm-up), and the weights stay where these epochs took them. In the arms auto_wu_restored_BATCH,
which are ours, the weights go back too, to the end of the epoch nearest the minimum
(`AutoWU(restore=True)`).

ImageNet: epochs, batch sizes and AdamP's settings are from the authors' code, which also has label
smoothing and batch norm over all replicas for EfficientNet-B0 only. We found no warm-up or learning
rates of the baseline; ours are guesses (the middles of five to try; none is chosen yet). Our own
choices, too, are label smoothing of 0.1, the default data augmentation instead of timm's with
lighting, and dropout and drop connect at 0.2. Our AdamP treats a depthwise kernel as one row; the
authors' code treats each channel separately.

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.
Not run by us: digits, cifar10 and their tunings; imagenet and its tuning (months on 2 CPU
cores).

    lbkeras replicate --config=configs/papers/kim2021_autowu.py:mnist --workdir=runs/kim2021_mnist
"""

from lbkeras import config as common

PAPER = dict(
    citation="Kim et al. 2021",
    title="Automated learning rate scheduler for large-batch training",
    arxiv="2107.05855",
    setting="ImageNet, after 120 epochs",
    arms=dict(
        auto_wu_resnet50_4096=dict(
            accuracy=0.7570, tag="secondary", note="75.54 with the authors' released code"
        ),
        auto_wu_resnet50_16384=dict(
            accuracy=0.7522, tag="secondary", note="74.87 with the authors' released code"
        ),
        auto_wu_efficientnet_4096=dict(
            accuracy=0.7581, tag="secondary", note="75.74 with the authors' released code"
        ),
        auto_wu_efficientnet_16384=dict(
            accuracy=0.7544, tag="secondary", note="75.66 with the authors' released code"
        ),
    ),
)

# The baseline's learning rates by batch size (on ImageNet by network, then batch size): the middle
# of the five to try, and the chosen one, or None if none is chosen yet; an arm then takes the
# middle. mnist's were chosen by mnist_tuning (1 seed, 2026-11-21). At batch 2,048 the best of the
# first five was the largest, so the middle was doubled and a sixth rate tried. With batch norm the
# largest of five was the best at both sizes (0.128: 98.0 and 97.4 %, 2026-11-28), so the middles
# became that rate; the new five have not been tried. ImageNet's are guesses.
_RATES = dict(
    digits={32: (0.004, None), 128: (0.008, None), 359: (0.016, None)},
    mnist={256: (0.004, 0.008), 2048: (0.016, 0.032), 8192: (0.016, 0.032)},
    mnist_bn={2048: (0.128, None), 8192: (0.128, None)},
    cifar10={128: (0.004, None), 1024: (0.008, None), 5120: (0.016, None)},
    imagenet=dict(
        resnet50={4096: (0.004, None), 16_384: (0.008, None)},
        efficientnet={4096: (0.004, None), 16_384: (0.008, None)},
    ),
)
# Sections of each ImageNet network's arms; the first network's model is also the config's.
_NETWORKS = dict(
    resnet50=dict(model=dict(name="resnet50", num_classes=1000, zero_gamma=False)),
    efficientnet=dict(
        model=dict(name="efficientnet_b0", num_classes=1000, synchronized=True),
        loss=dict(name="LabelSmoothingCrossentropy", from_logits=True, label_smoothing=0.1),
    ),
)

_OPTIMIZER = dict(name="AdamP", weight_decay=0.1, delta=0.1, weight_decay_ratio=0.1)


def _auto_wu(epochs, batch_size, restore=False):
    form = ", weights go back too" if restore else ""
    return dict(
        description=f"AutoWU{form}, batch {batch_size:,}",
        plan=dict(
            name="auto_wu_plan",
            epochs=epochs,
            batch_size=batch_size,
            momentum=0.0,
            min_learning_rate=1e-5,
            max_learning_rate=1.0,
            max_warmup_fraction=0.5,
            decay="cosine",
        ),
        callbacks=dict(AutoWU=dict(restore=restore)),
    )


def _tuned(batch_size, learning_rate):
    return dict(
        description=f"learning rate {learning_rate:g} with warm-up, batch {batch_size:,}",
        plan=dict(batch_size=batch_size, learning_rate=learning_rate),
    )


def _arms(rates, epochs, tuning, network="", **sections):
    """Returns each batch size's tuned and AutoWU arms, or the tuning's; all get `sections`."""
    arms, name = {}, f"{network}_" if network else ""
    for batch_size, (middle, chosen) in rates.items():
        tuned = f"tuned_{name}{batch_size}"
        if not tuning:
            arms[tuned] = _tuned(batch_size, chosen or middle) | sections
            arms[f"auto_wu_{name}{batch_size}"] = _auto_wu(epochs, batch_size) | sections
            if not network:
                arms[f"auto_wu_restored_{batch_size}"] = _auto_wu(epochs, batch_size, restore=True)
            continue
        for rate in common.rates_around(middle):
            arms[common.rate_arm(tuned, rate)] = _tuned(batch_size, rate) | sections
    return arms


def _experiment(*, epochs, arms, **more):
    """The config with the plan that the tuned arms share."""
    first = next(iter(arms.values()))["plan"]
    return common.experiment(
        optimizer=_OPTIMIZER,
        plan=dict(
            name="cosine_plan",
            epochs=epochs,
            batch_size=first["batch_size"],
            learning_rate=first["learning_rate"],
            momentum=0.0,
            warmup_epochs=0.1 * epochs,
            warmup_initial=1e-5,
        ),
        arms=arms,
        **more,
    )


def digits(tuning=False):
    """Digits: 1,437 examples, batches of up to a quarter of them."""
    return _experiment(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="mlp", num_classes=10, hidden_sizes=(64,)),
        epochs=120,
        arms=_arms(_RATES["digits"], 120, tuning),
        tuning=tuning,
        seeds=3 if tuning else 5,
    )


def mnist(tuning=False, variant="mnist", **model):
    """MNIST: 60,000 examples; a batch of 8,192 is 14 % of them, 7 updates per epoch."""
    return _experiment(
        data=dict(name="mnist", num_examples=60_000),
        model=dict(name="mlp", num_classes=10, hidden_sizes=(128,), **model),
        epochs=60,
        arms=_arms(_RATES[variant], 60, tuning),
        tuning=tuning,
        seeds=1 if tuning else 8,
    )


def mnist_bn(tuning=False):
    """mnist with batch norm, whose statistics also change if the learning rate overshoots."""
    return mnist(tuning, "mnist_bn", batch_normalization=True)


def cifar10(tuning=False):
    """CIFAR-10 with a ResNet small enough for two CPU cores."""
    return _experiment(
        data=dict(name="cifar10", num_examples=50_000),
        model=dict(name="cifar_resnet", depth=8, width=8, num_classes=10),
        epochs=30,
        arms=_arms(_RATES["cifar10"], 30, tuning),
        tuning=tuning,
        seeds=1 if tuning else 3,
    )


def imagenet(tuning=False):
    """ResNet-50 and EfficientNet-B0; the header says which settings are published."""
    arms = {}
    for network, rates in _RATES["imagenet"].items():
        arms |= _arms(rates, 120, tuning, network, **_NETWORKS[network])
    return _experiment(
        data=common.imagenet(),
        metrics=common.TOP_5,
        model=_NETWORKS["resnet50"]["model"],
        epochs=120,
        arms=arms,
        tuning=tuning,
        seeds=1,
    )


get_config = common.variants(
    digits=digits,
    mnist=mnist,
    mnist_bn=mnist_bn,
    cifar10=cifar10,
    imagenet=imagenet,
)


def get_claims(variant="digits"):
    """Returns the paper's claims and the tests that decide them (lbkeras.replication.claims)."""
    variant = variant or "digits"
    if variant.endswith("_tuning"):
        return []
    if variant == "imagenet":
        batches = [
            (f"{network}_{batch_size}", batch_size, f" with {network}")
            for network, rates in _RATES["imagenet"].items()
            for batch_size in rates
        ]
        return [
            *(_equals_tuning(*each) for each in batches),
            *map(_keeps_accuracy, _RATES["imagenet"]),
        ]
    return [
        *(_equals_tuning(str(batch_size), batch_size) for batch_size in _RATES[variant]),
        *(claim for batch_size in _RATES[variant] for claim in _of_restoring(batch_size)),
    ]


def _of_restoring(batch_size):
    """Returns claims of our own, which have no source."""
    name = f"auto_wu_restored_{batch_size}"
    keys = dict(test="not_worse", arm=name, metric="val_accuracy", margin=0.01)
    return [
        dict(
            name=f"auto_wu_restored_equals_tuning_at_{batch_size}",
            statement=f"Ours, not the paper's: at batch {batch_size:,} AutoWU whose weights go "
            "back too is as good as the best of five learning rates with warm-up and the same "
            "decay.",
            baseline=f"tuned_{batch_size}",
            **keys,
        ),
        dict(
            name=f"restoring_loses_nothing_at_{batch_size}",
            statement=f"Ours, not the paper's: at batch {batch_size:,} AutoWU whose weights go "
            "back too is as good as the paper's form.",
            baseline=f"auto_wu_{batch_size}",
            **keys,
        ),
    ]


def _equals_tuning(group, batch_size, network=""):
    return dict(
        name=f"auto_wu_equals_tuning_at_{group}",
        statement=f"At batch {batch_size:,}{network} AutoWU, untuned, is as good as the best of "
        "five learning rates with warm-up and the same decay.",
        source=f"{PAPER['citation']}, abstract",
        tag="stated",
        test="not_worse",
        arm=f"auto_wu_{group}",
        baseline=f"tuned_{group}",
        metric="val_accuracy",
        margin=0.01,
    )


def _keeps_accuracy(network):
    arm, baseline = (f"auto_wu_{network}_{batch_size}" for batch_size in (16_384, 4096))
    return dict(
        name=f"{network}_keeps_accuracy",
        statement=f"With AutoWU, {network} keeps at batch 16,384 the accuracy of batch 4,096.",
        source=f"{PAPER['citation']}, table of results, as the authors' README has it",
        tag="secondary",
        test="not_worse",
        arm=arm,
        baseline=baseline,
        metric="val_accuracy",
        margin=0.01,
        paper={
            key: PAPER["arms"][name]["accuracy"]
            for key, name in (("arm", arm), ("baseline", baseline))
        },
    )
