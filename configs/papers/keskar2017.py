"""Keskar, Mudigere, Nocedal, Smelyanskiy, Tang 2017, "On Large-Batch Training for Deep Learning:
Generalization Gap and Sharp Minima".

Paper: arXiv:1609.04836, ICLR 2017; section 2 and appendix B, tables 2 to 4, figures 2 and 3.
Claims: with a tenth of the data as the batch, a network fits the training data as well as with a
batch of 256, but tests worse. The large batch ends in a sharper minimum: the training loss rises
two orders of magnitude more in a box of a thousandth of the weights.

Variants (`--config=configs/papers/keskar2017.py:VARIANT`):
    digits     scikit-learn's digits, embedded; two hidden layers of 128 units; the default
    mnist      MNIST, F1: five hidden layers of 512 units with batch norm
    cifar10    CIFAR-10, C1: two convolutions, two hidden layers with dropout

Both arms use Adam with its defaults, as published, from the same initial weights; no learning rate
is tuned. In digits the small batch is 16, since 256 would be 18 % of the 1,437 examples.
`sharpness` is measured at the end of each run, in the full space and in 100 random directions, for
boxes of 1e-3 and 5e-4; `lbkeras replicate` then plots the loss on the line between the two
solutions of each seed. After the same epochs the two batch sizes have made different numbers of
updates. In digits, where the training accuracy is 100 % long before the end, the small batch has
the lower training loss, which explains part of its lower sharpness; in mnist, in a pilot with one
seed, the large batch had the lower loss.

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.

    lbkeras replicate --config=configs/papers/keskar2017.py:digits --workdir=runs/keskar2017_digits
"""

from lbkeras import config as common

PAPER = dict(
    citation="Keskar et al. 2017",
    title="On Large-Batch Training for Deep Learning: Generalization Gap and Sharp Minima",
    arxiv="1609.04836",
    setting="F1 on MNIST and, as c1, C1 on CIFAR-10, 5 runs each (tables 2 and 3)",
    arms=dict(
        small_batch=dict(accuracy=0.9803, tag="recalled", note="sharpness 1.23 ± 0.83"),
        large_batch=dict(accuracy=0.9781, tag="recalled", note="sharpness 205.14 ± 69.52"),
        c1_small_batch=dict(accuracy=0.8004, tag="recalled", note="sharpness 28.58 ± 3.13"),
        c1_large_batch=dict(accuracy=0.7726, tag="recalled", note="sharpness 707.23 ± 43.04"),
    ),
)

# The paper's values for the small and the large batch of F1 and C1, recalled, not looked up.
_PUBLISHED = dict(
    mnist={
        "accuracy": (0.9966, 0.9992),
        "val_accuracy": (0.9803, 0.9781),
        "sharpness": (1.23, 205.14),
        "sharpness_5e-4": (0.61, 42.90),
        "sharpness_subspace_100": (0.11, 9.22),
    },
    cifar10={
        "accuracy": (0.9989, 0.9966),
        "val_accuracy": (0.8004, 0.7726),
        "sharpness": (28.58, 707.23),
        "sharpness_5e-4": (7.08, 227.31),
        "sharpness_subspace_100": (2.18, 137.25),
    },
)
_TABLES = dict(accuracy="table 2", val_accuracy="table 2", sharpness_subspace_100="table 4")


def _experiment(*, data, model, batch_sizes, epochs, examples, seeds, prefix=""):
    """`examples`: training examples used for sharpness and the line; 0 means all of them."""
    arms = {
        f"{prefix}{name}_batch": dict(
            description=f"Adam, batch {batch_size:,}", plan=dict(batch_size=batch_size)
        )
        for name, batch_size in zip(("small", "large"), batch_sizes, strict=True)
    }
    config = common.experiment(
        data=data | dict(augmentation="none"),
        model=model | dict(num_classes=10),
        optimizer=dict(name="Adam"),
        plan=dict(
            name="steps_plan",
            epochs=epochs,
            boundaries=(),
            learning_rates=(0.001,),
            batch_size=batch_sizes[0],
            momentum=0.0,
        ),
        callbacks=dict(Sharpness=dict(examples=examples) if examples else {}),
        arms=arms,
        seeds=seeds,
    )
    config.linear_interpolation = dict(
        start=f"{prefix}small_batch", end=f"{prefix}large_batch", examples=examples
    )
    return config


def digits():
    """Digits: 1,437 examples; the large batch is a tenth of them."""
    return _experiment(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="mlp", hidden_sizes=(128, 128)),
        batch_sizes=(16, 143),
        epochs=40,
        examples=0,
        seeds=5,
    )


def mnist():
    """F1 on MNIST; sharpness on 5,000 examples, which takes about as long as training."""
    return _experiment(
        data=dict(name="mnist", num_examples=60_000),
        model=dict(name="keskar_f1"),
        batch_sizes=(256, 6000),
        epochs=10,
        examples=5000,
        seeds=3,
    )


def cifar10():
    """C1 on CIFAR-10, unaugmented as in the authors' code; sharpness on 2,000 examples."""
    return _experiment(
        data=dict(name="cifar10", num_examples=50_000),
        model=dict(name="keskar_c1"),
        batch_sizes=(256, 5000),
        epochs=20,
        examples=2000,
        seeds=3,
        prefix="c1_",
    )


get_config = common.variants(digits=digits, mnist=mnist, cifar10=cifar10)


def get_claims(variant="digits"):
    """Returns the paper's claims and the tests that decide them (lbkeras.replication.claims)."""
    variant = variant or "digits"
    where = "in a box of {} around its weights"
    return [
        _claim(
            "large_batch_fits_as_well",
            "The large batch reaches the training accuracy of the small one.",
            variant,
            metric="accuracy",
            test="not_worse",
            margin=0.01,
        ),
        _claim(
            "large_batch_tests_worse",
            "The large batch tests worse than the small one.",
            variant,
            metric="val_accuracy",
        ),
        _claim(
            "large_batch_is_sharper",
            f"The large batch's minimum is sharper {where.format('1e-3')}.",
            variant,
        ),
        _claim(
            "large_batch_is_sharper_5e-4",
            f"The large batch's minimum is sharper {where.format('5e-4')}.",
            variant,
            metric="sharpness_5e-4",
        ),
        _claim(
            "large_batch_is_sharper_subspace",
            f"The large batch's minimum is sharper {where.format('1e-3')}, in 100 random "
            "directions.",
            variant,
            metric="sharpness_subspace_100",
        ),
        _claim(
            "large_batch_is_twice_as_sharp",
            "The large batch's minimum is at least twice as sharp; in the paper it is 9 to "
            "224 times as sharp, depending on the network.",
            variant,
            test="ratio_at_least",
            ratio=2.0,
        ),
    ]


def _claim(name, statement, variant, metric="sharpness", test="worse", **more):
    """A claim about the large batch; for a ratio the arm is the small batch, which has less."""
    prefix = "c1_" if variant == "cifar10" else ""
    arms = [f"{prefix}large_batch", f"{prefix}small_batch"]
    values = list(reversed(_PUBLISHED.get(variant, {}).get(metric, ())))
    if test == "ratio_at_least":
        arms.reverse()
        values.reverse()
    return dict(
        name=name,
        statement=statement,
        source=f"{PAPER['citation']}, section 2, {_TABLES.get(metric, 'table 3')}",
        tag="recalled",
        test=test,
        arm=arms[0],
        baseline=arms[1],
        metric=metric,
        paper=dict(zip(("arm", "baseline"), values, strict=False)),
        **more,
    )
