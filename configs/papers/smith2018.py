"""Smith, Kindermans, Ying, Le 2018, "Don't decay the learning rate, increase the batch size".

Paper: arXiv:1711.00489, ICLR 2018; sections 5.1 to 5.4, Table 1, figures 1 to 4, appendix B.
Claims: increasing the batch size by the factor by which the learning rate would fall reaches the
same test accuracy after the same number of epochs with fewer updates. A higher initial learning
rate, with the batch size in proportion, saves more updates at the same accuracy. A higher momentum
saves still more, but costs accuracy.

Variants (`--config=configs/papers/smith2018.py:VARIANT`):
    digits             scikit-learn's digits, embedded; small convolutional network; the default
    digits_tuning      tunes its base learning rate on a held-out fifth of the training split
    mnist              MNIST, the same network with 8 filters
    characters         Tiny Shakespeare, a character language model, LSTM of 64
    characters_tuning  tunes its base learning rate on the text's validation part
    cifar10            CIFAR-10, ResNet-8 with 8 filters
    paper_cifar10      CIFAR-10, WRN-16-4, 200 epochs, batches and rates exactly as published
    gpu_cifar10        paper_cifar10's arms of Table 1 in 100 epochs; takes minutes on one GPU
    optimizers         digits; SGD, momentum, Nesterov, Adam (figures 3 and 4)
    learning_rates     digits; initial rate times 1 to 32, batch fixed or in proportion (appendix B)
    imagenet           Inception-ResNet-V2, 90 epochs; batch of 8,192, fixed or growing to 81,920
    imagenet_momentum  the same with momentum 0.9, 0.95 and 0.975, batches up to 65,536
    imagenet_tpu       ResNet-50, Goyal et al.'s set-up, on TPUs; batches of 8,192 and 16,384

`characters` is ours; the paper's experiments are all on images. It reads tinyshakespeare.txt
(karpathy/char-rnn, 1.1 MB) in the folder that --data_dir names.

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.
Not run by us: characters and its tuning; paper_cifar10 (more than a day per run on 2
CPU cores); and the ImageNet variants, which the paper ran on TPUs (imagenet_tpu in under 30 minutes
on 128 of them).

    lbkeras replicate --config=configs/papers/smith2018.py:digits --workdir=runs/smith2018_digits
"""

from ml_collections.config_dict import placeholder

from lbkeras import config as common

PAPER = dict(
    citation="Smith, Kindermans, Ying and Le 2018",
    title="Don't decay the learning rate, increase the batch size",
    arxiv="1711.00489",
    setting="Table 1: CIFAR-10, WRN-16-4, 200 epochs; sections 5.3 and 5.4: ImageNet",
    arms=dict(
        original=dict(
            accuracy=0.943,
            updates=80_000,
            tag="secondary",
            setting="Table 1: CIFAR-10, WRN-16-4, 200 epochs",
        ),
        increase_batch=dict(accuracy=0.944, updates=29_000, tag="secondary"),
        increased_learning_rate=dict(
            accuracy=0.945, updates=6_500, accuracy_tag="secondary", updates_tag="recalled"
        ),
        increased_momentum=dict(accuracy=0.933, updates=2_500, tag="secondary"),
        # ImageNet, section 5.3: the mean of two runs of each.
        inception_decay=dict(
            accuracy=0.7825,
            updates=14_000,
            accuracy_tag="secondary",
            updates_tag="stated",
            note="78.7 and 77.8 % in two runs",
            setting="section 5.3: ImageNet, Inception-ResNet-V2, 90 epochs",
        ),
        inception_increase_batch=dict(
            accuracy=0.7745,
            updates=6_000,
            accuracy_tag="secondary",
            updates_tag="stated",
            note="78.1 and 76.8 % in two runs, in under 6,000 updates",
        ),
        momentum_0_975=dict(
            accuracy=0.77, updates=2_500, tag="stated", note="under 2,500 updates, abstract"
        ),
        # Section 5.4.
        resnet50_decay=dict(
            accuracy=0.761,
            tag="recalled",
            note="under 45 minutes",
            setting="section 5.4: ImageNet, ResNet-50, 90 epochs",
        ),
        resnet50_increase_batch=dict(
            accuracy=0.761, tag="both", note="under 30 minutes on 128 TPUs (v2)"
        ),
        resnet50_doubled=dict(accuracy=0.750, tag="recalled", note="22 minutes"),
    ),
)

_DESCRIPTIONS = dict(
    original="learning rate falls at each boundary, batch fixed",
    increase_batch="batch grows at each boundary up to the limit, then the learning rate falls",
    hybrid="batch grows at the first boundary, then the learning rate falls",
    increased_learning_rate="increase_batch from 5 times the learning rate and batch",
    increased_momentum="increased_learning_rate with momentum 0.98 and 5 times the batch again",
    large_batch_naive="the largest batch from the start, nothing else changed",
)


def _arms(learning_rate, largest):
    """Returns the comparison's six arms, from a base learning rate and the batch size limit."""
    plans = dict(
        original=dict(strategy="decay_learning_rate"),
        increase_batch=dict(strategy="increase_batch"),
        hybrid=dict(strategy="hybrid"),
        increased_learning_rate=dict(
            strategy="increase_batch", increased_learning_rate=5 * learning_rate
        ),
        increased_momentum=dict(
            strategy="increase_batch",
            increased_learning_rate=5 * learning_rate,
            increased_momentum=0.98,
        ),
        large_batch_naive=dict(strategy="decay_learning_rate", batch_size=largest),
    )
    return {name: dict(description=_DESCRIPTIONS[name], plan=plan) for name, plan in plans.items()}


def _plan(
    *, epochs, boundaries, learning_rate, batch_size, max_batch_size, momentum=0.9, factor=5.0
):
    return dict(
        name="noise_scale_plan",
        strategy="decay_learning_rate",
        epochs=epochs,
        boundaries=boundaries,
        factor=factor,
        learning_rate=learning_rate,
        momentum=momentum,
        batch_size=batch_size,
        max_batch_size=max_batch_size,
        increased_learning_rate=placeholder(float),
        increased_momentum=placeholder(float),
    )


_NESTEROV = dict(name="SGD", nesterov=True)


_TUNING_RATES = (0.00125, 0.0025, 0.005, 0.01, 0.02)


def _tuning_arms(rates=_TUNING_RATES):
    """Returns the arm `original` with each rate."""
    return {
        common.rate_arm("original", rate): dict(
            description=f"{_DESCRIPTIONS['original']}, from {rate:g}",
            plan=dict(strategy="decay_learning_rate", learning_rate=rate),
        )
        for rate in rates
    }


def digits(tuning=False):
    """Digits: 1,437 examples; the batch is at most 140 (within N/10, and even for two replicas).

    digits_tuning chose the base rate (5 seeds, 2026-11-27): of five rates, a factor of 2 apart, the
    one with the best mean val_accuracy of `original` on the held-out fifth. 0.0025 and 0.01 tied,
    and the smaller rate wins ties. The 20 seeds had not been looked at before.
    """
    return common.experiment(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="small_cnn", num_classes=10, width=16, weight_decay=5e-4),
        optimizer=_NESTEROV,
        plan=_plan(
            epochs=40,
            boundaries=(12, 24, 32),
            learning_rate=0.0025,
            batch_size=4,
            max_batch_size=140,
        ),
        arms=_tuning_arms() if tuning else _arms(0.0025, 140),
        seeds=5 if tuning else 20,
        first_seed=10,
        tuning=tuning,
    )


def mnist():
    """MNIST: 60,000 examples; the limit is N/10."""
    return common.experiment(
        data=dict(name="mnist", num_examples=60_000),
        model=dict(
            name="small_cnn",
            num_classes=10,
            width=8,
            batch_normalization=True,
            weight_decay=5e-4,
        ),
        optimizer=_NESTEROV,
        plan=_plan(
            epochs=20,
            boundaries=(6, 12, 16),
            learning_rate=0.01,
            batch_size=128,
            max_batch_size=6_000,
        ),
        arms=_arms(0.01, 6_000),
    )


def characters(tuning=False):
    """Characters in windows of 64, an LSTM with clipped gradients; the limit is N/10.

    characters_tuning will choose the base rate, by digits_tuning's rule, on the validation part. It
    has not been run.
    """
    learning_rate, splits = 2.0, dict(test_split="validation" if tuning else "test")
    return common.experiment(
        data=dict(name="tinyshakespeare.txt:64", num_examples=15_685) | splits,
        model=dict(
            name="lstm_language_model",
            vocabulary_size=65,
            embedding=64,
            units=64,
            layers=1,
            dropout=0.0,
        ),
        optimizer=_NESTEROV | dict(global_clipnorm=1.0),
        plan=_plan(
            epochs=10,
            boundaries=(3, 6, 8),
            learning_rate=learning_rate,
            batch_size=32,
            max_batch_size=1_568,
        ),
        arms=_tuning_arms(common.rates_around(2.0)) if tuning else _arms(learning_rate, 1_568),
        seeds=1 if tuning else 3,
        first_seed=common.FIRST_TUNING_SEED if tuning else 0,
    )


def cifar10():
    """CIFAR-10 with a ResNet small enough for two CPU cores."""
    return common.experiment(
        data=dict(name="cifar10", num_examples=50_000),
        model=dict(name="cifar_resnet", depth=8, width=8, num_classes=10, weight_decay=5e-4),
        optimizer=_NESTEROV,
        plan=_plan(
            epochs=20,
            boundaries=(6, 12, 16),
            learning_rate=0.1,
            batch_size=128,
            max_batch_size=5_120,
        ),
        arms=_arms(0.1, 5_120),
    )


def paper_cifar10():
    """As published: WRN-16-4, 200 epochs, batches of 128 to 5,120."""
    return common.experiment(
        data=dict(name="cifar10", num_examples=50_000),
        model=dict(name="wide_resnet", depth=16, width=4, num_classes=10, weight_decay=5e-4),
        optimizer=_NESTEROV,
        plan=_plan(
            epochs=200,
            boundaries=(60, 120, 160),
            learning_rate=0.1,
            batch_size=128,
            max_batch_size=5_120,
        ),
        arms=_arms(0.1, 5_120),
        seeds=6,
    )


_NOT_IN_TABLE_1 = ("hybrid", "large_batch_naive")


def gpu_cifar10():
    """Table 1 in half the epochs, in mixed_bfloat16; one GPU trains it in minutes.

    The boundaries are at the same fractions of the training as the paper's. To change the length:
    `--config.plan.epochs=N --config.plan.boundaries=...`.
    """
    config = paper_cifar10()
    config.plan.epochs, config.plan.boundaries = 100, (30, 60, 80)
    for arm in _NOT_IN_TABLE_1:
        del config.arms[arm]
    config.train.precision = "mixed_bfloat16"
    config.train.validation_freq = 5
    config.seeds = 1
    return config


_OPTIMIZERS = dict(
    sgd=(dict(name="SGD"), dict(learning_rate=0.025, momentum=0.0)),
    momentum=(dict(name="SGD"), dict(learning_rate=0.0025, momentum=0.9)),
    nesterov=(dict(name="SGD", nesterov=True), dict(learning_rate=0.0025, momentum=0.9)),
    adam=(dict(name="Adam"), dict(learning_rate=0.001, momentum=0.0)),
)
_SCHEDULES = dict(original="decay_learning_rate", hybrid="hybrid", increase_batch="increase_batch")


def optimizers():
    """Figures 3 and 4: the three schedules with four optimizers."""
    config = digits()
    config.seeds = 5
    config.arms = common.arms(
        {
            f"{optimizer}_{schedule}": dict(
                description=f"{optimizer}: {_DESCRIPTIONS[schedule]}",
                optimizer=settings,
                plan=dict(strategy=strategy, **plan),
            )
            for optimizer, (settings, plan) in _OPTIMIZERS.items()
            for schedule, strategy in _SCHEDULES.items()
        }
    )
    return config


_MULTIPLES = (1, 2, 4, 8, 16, 32)


def learning_rates():
    """Appendix B: the initial learning rate times 1 to 32, with a fixed or a proportional batch.

    The report also shows wall-clock time, which critics found missing from the paper.
    """
    config = digits()
    config.seeds = 5
    rate, batch = config.plan.learning_rate, config.plan.batch_size
    fixed = {
        f"fixed_x{k}": dict(
            description=f"{k} times the learning rate, the same batch",
            plan=dict(learning_rate=k * rate),
        )
        for k in _MULTIPLES
    }
    proportional = {
        f"proportional_x{k}": dict(
            description=f"{k} times the learning rate and the batch",
            plan=dict(learning_rate=k * rate, batch_size=k * batch),
        )
        for k in _MULTIPLES[1:]
    }
    config.arms = common.arms(fixed | proportional)
    return config


def _imagenet_plan(learning_rate, max_batch_size):
    """90 epochs from a batch of 8,192; the noise scale falls to a tenth at 30, 60 and 80."""
    return _plan(
        epochs=90,
        boundaries=(30, 60, 80),
        factor=10.0,
        learning_rate=learning_rate,
        batch_size=8192,
        max_batch_size=max_batch_size,
    )


def _inception(ghost_batch_size, max_batch_size, arms):
    """Inception-ResNet-V2 with ghost batch norm, from a learning rate of 3."""
    return common.experiment(
        data=common.imagenet(image_size=299),
        model=dict(
            name="inception_resnet_v2",
            num_classes=1000,
            ghost_batch_size=ghost_batch_size,
            weight_decay=4e-5,
        ),
        loss=dict(name="LabelSmoothingCrossentropy", from_logits=True, label_smoothing=0.1),
        metrics=common.TOP_5,
        optimizer=dict(name="SGD"),
        plan=_imagenet_plan(3.0, max_batch_size),
        arms=arms,
        seeds=2,
    )


def imagenet():
    """Section 5.3, first experiment: the batch grows to 81,920, then the learning rate falls.

    The paper states learning rate, momentum, batch sizes and ghost batches (of 32). We do not know
    its weight decay, label smoothing and warm-up: the first two are those of the network's authors
    as we recall them (4e-5, 0.1), and there is no warm-up. That momentum is plain is a guess.
    """
    return _inception(
        ghost_batch_size=32,
        max_batch_size=81_920,
        arms=dict(
            inception_decay=dict(
                description="batch 8,192, learning rate 3 divided by 10 at 30, 60 and 80",
                plan=dict(strategy="decay_learning_rate"),
            ),
            inception_increase_batch=dict(
                description="batch 8,192, times 10 at 30; learning rate divided by 10 at 60 and 80",
                plan=dict(strategy="increase_batch"),
            ),
        ),
    )


def imagenet_momentum():
    """Section 5.3, second experiment: three momenta, ghost batches of 64, batches up to 65,536.

    The initial batch size is proportional to 1 / (1 − momentum). At the cap the learning rate takes
    the rest of the factor, as the paper's update counts imply. All else is as in `imagenet`.
    """
    return _inception(
        ghost_batch_size=64,
        max_batch_size=65_536,
        arms={
            f"momentum_{momentum:g}".replace(".", "_"): dict(
                description=f"momentum {momentum:g}, batch {batch_size:,} at first, 65,536 from 30",
                plan=dict(strategy="increase_batch")
                | (dict(increased_momentum=momentum) if momentum > 0.9 else {}),
            )
            for momentum, batch_size in ((0.9, 8192), (0.95, 16_384), (0.975, 32_768))
        },
    )


def imagenet_tpu():
    """Section 5.4: ResNet-50 in Goyal et al.'s set-up; only the first boundary grows the batch.

    At epoch 30 the batch size doubles and the learning rate is divided by 5, so the noise scale
    falls by a factor of 10. This and the use of bfloat16, in which TPUs multiply, are recalled.
    `resnet50_doubled` has twice the batch and the learning rate from the start. Ghost batches of 32
    are the batches of Goyal et al.'s workers.
    """
    plan = _imagenet_plan(3.2, 16_384) | dict(warmup_epochs=5.0, warmup_initial=0.1)
    return common.experiment(
        data=common.imagenet(),
        model=dict(
            name="resnet50",
            num_classes=1000,
            zero_gamma=True,
            weight_decay=1e-4,
            ghost_batch_size=32,
        ),
        metrics=common.TOP_5,
        optimizer=_NESTEROV,
        plan=plan,
        train=dict(precision="mixed_bfloat16"),
        arms=dict(
            resnet50_decay=dict(
                description="batch 8,192, learning rate 3.2 divided by 10 at 30, 60 and 80",
                plan=dict(strategy="decay_learning_rate"),
            ),
            resnet50_increase_batch=dict(
                description="batch 8,192, 16,384 from 30 with a fifth of the learning rate",
                plan=dict(strategy="increase_batch"),
            ),
            resnet50_doubled=dict(
                description="batch 16,384, learning rate 6.4 divided by 10 at 30, 60 and 80",
                plan=dict(strategy="decay_learning_rate", batch_size=16_384, learning_rate=6.4),
            ),
        ),
        seeds=1,
    )


get_config = common.variants(
    digits=digits,
    mnist=mnist,
    characters=characters,
    cifar10=cifar10,
    paper_cifar10=paper_cifar10,
    gpu_cifar10=gpu_cifar10,
    optimizers=optimizers,
    learning_rates=learning_rates,
    imagenet=imagenet,
    imagenet_momentum=imagenet_momentum,
    imagenet_tpu=imagenet_tpu,
)


def get_claims(variant="digits"):
    """Returns the paper's claims and the tests that decide them (lbkeras.replication.claims)."""
    if variant.endswith("_tuning"):
        return []  # tuning makes no claims
    if variant == "optimizers":
        return [
            _keeps_accuracy(f"{name}_{schedule}", f"{name}_original", "figures 3 and 4")
            for name in _OPTIMIZERS
            for schedule in ("hybrid", "increase_batch")
        ]
    if variant == "learning_rates":
        return [
            _keeps_accuracy(f"proportional_x{k}", "fixed_x1", "section 3, B proportional to rate")
            for k in _MULTIPLES[1:]
        ]
    if variant in _IMAGENET_CLAIMS:
        return _IMAGENET_CLAIMS[variant]()
    claims = _claims_of_six_arms()
    if variant == "gpu_cifar10":
        claims = [claim for claim in claims if claim["arm"] not in _NOT_IN_TABLE_1]
    return claims


def _claims_of_six_arms():
    table = "section 5.2, Table 1"
    return [
        _keeps_accuracy("increase_batch", "original", table),
        _keeps_accuracy("hybrid", "original", "section 5.1, figure 2"),
        _keeps_accuracy("increased_learning_rate", "original", table),
        _momentum_loses_accuracy("increased_momentum", "original", table),
        _saves_updates("increase_batch", "original", 2.3, table, "secondary"),
        _saves_updates("increased_learning_rate", "original", 8.0, table, "arithmetic"),
        dict(
            name="large_batch_naive_loses_accuracy",
            statement="A large batch from the start, with nothing else changed, loses accuracy.",
            source=f"{PAPER['citation']}, section 1",
            tag="stated",
            test="worse",
            arm="large_batch_naive",
            baseline="original",
            metric="val_accuracy",
        ),
    ]


def _claims_imagenet():
    where = "section 5.3, first experiment"
    return [
        _keeps_accuracy("inception_increase_batch", "inception_decay", where),
        _saves_updates("inception_increase_batch", "inception_decay", 2.3, where, "stated"),
    ]


def _claims_imagenet_momentum():
    where = "section 5.3, second experiment"
    return [
        _saves_updates("momentum_0_975", "momentum_0_9", 2.5, where, "arithmetic"),
        _momentum_loses_accuracy("momentum_0_975", "momentum_0_9", where),
    ]


def _claims_imagenet_tpu():
    where = "section 5.4"
    return [
        _keeps_accuracy("resnet50_increase_batch", "resnet50_decay", where),
        _saves_updates("resnet50_increase_batch", "resnet50_decay", 1.5, where, "arithmetic"),
        dict(
            name="resnet50_doubled_loses_accuracy",
            statement="Twice the batch and the learning rate from the start lose test accuracy, "
            "which a batch that doubles at the first step does not.",
            source=f"{PAPER['citation']}, {where}",
            tag="recalled",
            test="worse",
            arm="resnet50_doubled",
            baseline="resnet50_increase_batch",
            metric="val_accuracy",
            paper=_papers("accuracy", "resnet50_doubled", "resnet50_increase_batch"),
        ),
    ]


_IMAGENET_CLAIMS = dict(
    imagenet=_claims_imagenet,
    imagenet_momentum=_claims_imagenet_momentum,
    imagenet_tpu=_claims_imagenet_tpu,
)


def _momentum_loses_accuracy(arm, baseline, where):
    return dict(
        name=f"{arm}_loses_accuracy",
        statement="Increased momentum needs the fewest updates and costs test accuracy.",
        source=f"{PAPER['citation']}, {where}",
        tag="secondary",
        test="worse",
        arm=arm,
        baseline=baseline,
        metric="val_accuracy",
        paper=_papers("accuracy", arm, baseline),
    )


def _keeps_accuracy(arm, baseline, where):
    return dict(
        name=f"{arm}_keeps_accuracy",
        statement=f"The test accuracy of {arm} equals that of {baseline} after the same epochs.",
        source=f"{PAPER['citation']}, {where}",
        tag="stated",
        test="not_worse",
        arm=arm,
        baseline=baseline,
        metric="val_accuracy",
        margin=0.01,
        paper=_papers("accuracy", arm, baseline),
    )


def _saves_updates(arm, baseline, ratio, where, tag):
    return dict(
        name=f"{arm}_saves_updates",
        statement=f"{arm} needs fewer updates than {baseline}, here at least {ratio:g} times "
        "fewer.",
        source=f"{PAPER['citation']}, {where}",
        tag=tag,
        test="ratio_at_least",
        arm=arm,
        baseline=baseline,
        metric="updates",
        ratio=ratio,
        paper=_papers("updates", arm, baseline),
    )


def _papers(key, arm, baseline):
    """Returns the paper's own numbers for both arms, if it has both."""
    numbers = [PAPER["arms"].get(name, {}).get(key) for name in (arm, baseline)]
    return {} if None in numbers else dict(zip(("arm", "baseline"), numbers, strict=True))
