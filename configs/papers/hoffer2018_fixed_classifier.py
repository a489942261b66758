"""Hoffer, Hubara, Soudry 2018, "Fix your classifier: the marginal value of training the last weight
layer".

Paper: arXiv:1801.04540, ICLR 2018; sections 2 and 3, Table 1; scale, bias and matrices from the
authors' code, github.com/eladhoffer/fix_your_classifier.
Claims: the last layer need not be learned. A fixed matrix with orthogonal columns (random or
Hadamard) and one learned scale reach a learned classifier's accuracy with fewer parameters.

Variants (`--config=configs/papers/hoffer2018_fixed_classifier.py:VARIANT`):
    digits          scikit-learn's digits, embedded; small convolutional network; the default
    digits_tuning   tunes its learning rates on a held-out fifth of the training split
    mnist           MNIST, the same network with 8 filters and batch normalization
    mnist_tuning    tunes its learning rates in the same way
    cifar10         CIFAR-10, ResNet-8 with 8 filters
    cifar10_tuning  tunes its learning rates in the same way
    paper_cifar10   CIFAR-10, ResNet-56, 200 epochs
    imagenet        ImageNet, ResNet-50, 90 epochs

Arms: `learned` (Dense), `hadamard` and `orthonormal` (one random matrix, the same for all seeds, as
in the authors' code). The two fixed classifiers normalize the features, and weight decay applies to
their scale instead of the kernel. The bias and everything before the classifier are the same. In
digits, mnist and cifar10 each arm has the best of five learning rates, a factor of 2 apart. Tuning
trains on `train[:80%]`, evaluates on `train[80%:]`, never on the test split, and uses other seeds.
The highest mean val_accuracy wins; ties go to the smaller rate; a rate at which a run diverged is
excluded:

    python -m lbkeras.replication.selection runs/hoffer2018_digits_tuning

The published networks' accuracies are recalled, not looked up. So are their epochs and learning
rates, as those of He et al. and of the same authors' bigBatch.

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.
Not run by us: cifar10 (hours), paper_cifar10 and imagenet (weeks on 2 CPU cores).

    lbkeras replicate --config=configs/papers/hoffer2018_fixed_classifier.py:digits \\
        --workdir=runs/hoffer2018_digits
"""

from lbkeras import config as common

_ACCURACIES = dict(
    paper_cifar10=dict(learned=0.9303, hadamard=0.9314),
    imagenet=dict(learned=0.753, hadamard=0.753),
)

PAPER = dict(
    citation="Hoffer, Hubara and Soudry 2018",
    title="Fix your classifier: the marginal value of training the last weight layer",
    arxiv="1801.04540",
    setting="CIFAR-10, ResNet-56; on ImageNet ResNet-50 has 75.3 with either",
    arms={
        arm: dict(accuracy=accuracy, tag="recalled")
        for arm, accuracy in _ACCURACIES["paper_cifar10"].items()
    },
)

_KINDS = dict(
    learned="a learned classifier",
    hadamard="a fixed classifier of Hadamard's matrix",
    orthonormal="a fixed classifier of random orthonormal columns",
)

# For each arm: the middle of five learning rates, and the chosen one, or None if none is chosen
# yet, in which case the arm takes the middle. Those of mnist and cifar10 are guesses. The rule
# chose from digits_tuning, 3 seeds, 2026-11-27. The learned classifier is at chance from 0.1 on;
# hadamard had its best at the largest rate tried, so its five moved up by one.
_RATES = dict(
    digits=dict(learned=(0.05, 0.05), hadamard=(0.1, 0.2), orthonormal=(0.05, 0.1)),
    mnist=dict(learned=(0.05, None), hadamard=(0.1, None), orthonormal=(0.05, None)),
    cifar10=dict.fromkeys(_KINDS, (0.1, None)),
)
# Trainable parameters with a learned classifier, and with either fixed one, where one scale
# replaces the kernel of shape (features, classes).
_PARAMETERS = dict(
    digits=(13_706, 13_067),
    mnist=(26_722, 26_403),
    cifar10=(19_218, 18_899),
    paper_cifar10=(853_018, 852_379),
    imagenet=(25_557_032, 23_509_033),
)


def _arm(kind, learning_rates):
    return dict(
        description=f"{_KINDS[kind]}, learning rate {learning_rates[0]:g}",
        model={} if kind == "learned" else dict(fixed_classifier=kind),
        plan=dict(learning_rates=learning_rates),
    )


def _experiment(*, arms, epochs, boundaries, batch_size, **more):
    return common.experiment(
        optimizer=dict(name="SGD"),
        plan=dict(
            name="steps_plan",
            epochs=epochs,
            boundaries=boundaries,
            learning_rates=next(iter(arms.values()))["plan"]["learning_rates"],
            batch_size=batch_size,
            momentum=0.9,
        ),
        arms=arms,
        **more,
    )


def _small(name, *, tuning, epochs, **more):
    """Returns the three arms, or their tuning arms; the rate falls to a tenth at 1/2 and 3/4."""
    arms = {}
    for kind, (middle, chosen) in _RATES[name].items():
        rates = common.rates_around(middle) if tuning else [chosen or middle]
        for rate in rates:
            arm = common.rate_arm(kind, rate) if tuning else kind
            arms[arm] = _arm(kind, (rate, rate / 10, rate / 100))
    boundaries = (epochs // 2, 3 * epochs // 4)
    return _experiment(arms=arms, epochs=epochs, boundaries=boundaries, tuning=tuning, **more)


def digits(tuning=False):
    """Digits: 64 features and 10 classes; 4.7 % fewer parameters."""
    return _small(
        "digits",
        data=dict(name="digits", num_examples=1437),
        model=dict(name="small_cnn", num_classes=10, width=16, weight_decay=1e-4),
        epochs=20,
        batch_size=32,
        tuning=tuning,
        seeds=3 if tuning else 10,
    )


def mnist(tuning=False):
    """MNIST: 32 features and 10 classes; 1.2 % fewer parameters."""
    return _small(
        "mnist",
        data=dict(name="mnist", num_examples=60_000),
        model=dict(
            name="small_cnn",
            num_classes=10,
            width=8,
            batch_normalization=True,
            weight_decay=1e-4,
        ),
        epochs=8,
        batch_size=128,
        tuning=tuning,
        seeds=1 if tuning else 3,
    )


def cifar10(tuning=False):
    """CIFAR-10 with a ResNet that two CPU cores can train; 1.7 % fewer parameters."""
    return _small(
        "cifar10",
        data=dict(name="cifar10", num_examples=50_000),
        model=dict(name="cifar_resnet", depth=8, width=8, num_classes=10, weight_decay=1e-4),
        epochs=10,
        batch_size=128,
        tuning=tuning,
        seeds=1 if tuning else 3,
    )


def _steps(number):
    """Returns 0.1 and the rates after each of `number` divisions by 10."""
    return tuple(0.1 / 10**step for step in range(number + 1))


def paper_cifar10():
    """ResNet-56, as in the paper; 0.07 % fewer parameters."""
    return _experiment(
        data=dict(name="cifar10", num_examples=50_000),
        model=dict(name="cifar_resnet", depth=56, num_classes=10, weight_decay=1e-4),
        arms={kind: _arm(kind, _steps(3)) for kind in _KINDS},
        epochs=200,
        boundaries=(81, 122, 164),
        batch_size=128,
        seeds=3,
    )


def imagenet():
    """ResNet-50: 2,048 features and 1,000 classes; 8 % fewer parameters.

    Data augmentation is our own for ImageNet. That every gamma starts at 1 is a guess.
    """
    return _experiment(
        data=common.imagenet(),
        model=dict(name="resnet50", num_classes=1000, zero_gamma=False, weight_decay=1e-4),
        metrics=common.TOP_5,
        arms={kind: _arm(kind, _steps(3)) for kind in _KINDS},
        epochs=90,
        boundaries=(30, 60, 80),
        batch_size=256,
        seeds=1,
    )


get_config = common.variants(
    digits=digits,
    mnist=mnist,
    cifar10=cifar10,
    paper_cifar10=paper_cifar10,
    imagenet=imagenet,
)


def get_claims(variant="digits"):
    """Returns the paper's claims and the tests that decide them (lbkeras.replication.claims)."""
    variant = variant or "digits"
    if variant.endswith("_tuning"):
        return []
    learned, fixed = _PARAMETERS[variant]
    return [
        *(_keeps_accuracy(kind, variant) for kind in _KINDS if kind != "learned"),
        dict(
            name="hadamard_trains_fewer_parameters",
            statement=f"With a fixed classifier {100 * (learned - fixed) / learned:.2g} % fewer "
            f"parameters are trained: {fixed:,} of {learned:,}.",
            source=f"{PAPER['citation']}, section 3, Table 1",
            tag="arithmetic",
            test="ratio_at_least",
            arm="hadamard",
            baseline="learned",
            metric="trainable_parameters",
            ratio=int(1e4 * learned / fixed) / 1e4,
        ),
    ]


def _keeps_accuracy(kind, variant):
    papers = _ACCURACIES.get(variant, {})
    return dict(
        name=f"{kind}_keeps_accuracy",
        statement=f"The test accuracy with {_KINDS[kind]} equals that with a learned one.",
        source=f"{PAPER['citation']}, abstract and Table 1",
        tag="stated",
        test="not_worse",
        arm=kind,
        baseline="learned",
        metric="val_accuracy",
        margin=0.01,
        paper=dict(arm=papers[kind], baseline=papers["learned"]) if kind in papers else {},
    )
