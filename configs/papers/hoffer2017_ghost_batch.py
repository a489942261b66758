"""Hoffer, Hubara, Soudry 2017, "Train longer, generalize better".

Paper: arXiv:1705.08741, NIPS 2017; sections 4 and 5, Table 1; settings from the authors' code,
github.com/eladhoffer/bigBatch.
Claims: with a large batch and nothing else changed, accuracy falls. Multiplying the learning rate
by the square root of the batch ratio wins some of it back, and so does ghost batch normalization.
With both and as many updates as the small batch, nothing is lost.

Variants (`--config=configs/papers/hoffer2017_ghost_batch.py:VARIANT`):
    digits          scikit-learn's digits, embedded; small convolutional network; 16 and 256
    mnist           MNIST, the same network; batches of 128 and 4,096
    cifar10         CIFAR-10, ResNet-8 with 8 filters; batches of 128 and 2,048
    paper_mnist     MNIST, F1 (five hidden layers of 512), 50 epochs; batches of 128 and 4,096
    paper_cifar10   CIFAR-10, ResNet-44, 200 epochs; batches of 128 and 4,096

Each arm adds one thing to the arm before it. All arms have the base learning rate tuned for the
small batch (digits: on a held-out fifth of the training split). All clip gradients to a global norm
of 5; the authors' code does so on every update, the paper does not mention it. The ghost batch size
is the small batch size.

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.
Not run by us: paper_cifar10, whose last arm takes 6,400 epochs, and paper_mnist with 1,600.

    lbkeras replicate --config=configs/papers/hoffer2017_ghost_batch.py:digits \\
        --workdir=runs/hoffer2017_digits
"""

from lbkeras import config as common

_ACCURACIES = dict(
    resnet44=dict(
        small_batch=0.9283,
        large_batch=0.8610,
        learning_rate=0.8930,
        ghost_batch=0.9050,
        regime_adaptation=0.9307,
    ),
    f1=dict(
        small_batch=0.9827,
        large_batch=0.9705,
        learning_rate=0.9755,
        ghost_batch=0.9760,
        regime_adaptation=0.9853,
    ),
)

PAPER = dict(
    citation="Hoffer, Hubara and Soudry 2017",
    title="Train longer, generalize better",
    arxiv="1705.08741",
    setting="CIFAR-10, ResNet-44, batches of 128 and 4,096 (Table 1)",
    arms={
        arm: dict(accuracy=accuracy, tag="recalled")
        for arm, accuracy in _ACCURACIES["resnet44"].items()
    },
)


def _experiment(
    *, data, model, epochs, boundaries, learning_rates, small, large, weight_decay, seeds=3
):
    """The five arms, from the small batch's regime and the two batch sizes."""
    ghosts = dict(ghost_batch_size=small)
    square_root = dict(batch_size=large, scaling="square_root")
    arms = dict(
        small_batch=dict(description=f"batch {small:,}"),
        large_batch=dict(
            description=f"batch {large:,}, nothing else changed", plan=dict(batch_size=large)
        ),
        learning_rate=dict(
            description=f"and the learning rate times {(large / small) ** 0.5:.4g}, the square "
            "root of the batch ratio",
            plan=square_root,
        ),
        ghost_batch=dict(
            description=f"and batch normalisation over ghosts of {small:,}",
            plan=square_root,
            model=ghosts,
        ),
        regime_adaptation=dict(
            description=f"and {-(-large // small)} times the epochs, as many updates as the small "
            "batch",
            plan=square_root | dict(adapt_regime=True),
            model=ghosts,
        ),
    )
    return common.experiment(
        data=data,
        model=model | dict(num_classes=10, weight_decay=weight_decay, ghost_batch_size=0),
        optimizer=dict(name="SGD", global_clipnorm=5.0),
        plan=dict(
            name="regime_adaptation_plan",
            epochs=epochs,
            boundaries=boundaries,
            learning_rates=learning_rates,
            base_batch_size=small,
            batch_size=small,
            momentum=0.9,
            scaling="none",
            adapt_regime=False,
        ),
        arms=arms,
        seeds=seeds,
    )


def digits():
    """Digits: batches of 16 and 256 of 1,437 examples; the last arm trains 320 epochs.

    The base rate is the best of 0.01, 0.02, 0.05, 0.1, 0.2 for the small batch, trained on
    `train[:80%]` and evaluated on `train[80%:]`, seeds 100 and 101: 98.6, 98.3, 99.0, 97.2, 10.1 %.
    """
    return _experiment(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="small_cnn", width=8, batch_normalization=True),
        epochs=20,
        boundaries=(10, 16),
        learning_rates=(0.05, 0.005, 0.0005),
        small=16,
        large=256,
        weight_decay=1e-4,
        seeds=5,
    )


def mnist():
    """MNIST: so few epochs that the large batch lacks updates; the last arm trains 128 epochs."""
    return _experiment(
        data=dict(name="mnist", num_examples=60_000),
        model=dict(name="small_cnn", width=8, batch_normalization=True),
        epochs=4,
        boundaries=(2, 3),
        learning_rates=(0.05, 0.005, 0.0005),
        small=128,
        large=4096,
        weight_decay=1e-4,
    )


def cifar10():
    """CIFAR-10 with a ResNet small enough for two CPU cores; the last arm trains 160 epochs."""
    return _experiment(
        data=dict(name="cifar10", num_examples=50_000),
        model=dict(name="cifar_resnet", depth=8, width=8),
        epochs=10,
        boundaries=(5, 8),
        learning_rates=(0.1, 0.01, 0.001),
        small=128,
        large=2048,
        weight_decay=1e-4,
    )


def paper_mnist():
    """F1 as in the authors' code: 0.1 divided by 10 at epochs 10, 20 and 30 of 50.

    Weight decay there includes biases and batch normalization, here kernels only.
    """
    return _experiment(
        data=dict(name="mnist", num_examples=60_000),
        model=dict(name="keskar_f1"),
        epochs=50,
        boundaries=(10, 20, 30),
        learning_rates=(0.1, 0.01, 0.001, 0.0001),
        small=128,
        large=4096,
        weight_decay=1e-4,
    )


def paper_cifar10():
    """ResNet-44 as in the authors' code: 0.1 divided by 10 at epochs 81, 122 and 164 of 200.

    Weight decay there includes biases and batch normalization, here kernels only.
    """
    return _experiment(
        data=dict(name="cifar10", num_examples=50_000),
        model=dict(name="cifar_resnet", depth=44, width=16),
        epochs=200,
        boundaries=(81, 122, 164),
        learning_rates=(0.1, 0.01, 0.001, 0.0001),
        small=128,
        large=4096,
        weight_decay=1e-4,
    )


get_config = common.variants(
    digits=digits,
    mnist=mnist,
    cifar10=cifar10,
    paper_mnist=paper_mnist,
    paper_cifar10=paper_cifar10,
)


def get_claims(variant="digits"):
    """Returns the paper's claims and the tests that decide them (lbkeras.replication.claims)."""
    papers = _ACCURACIES["f1" if "mnist" in variant else "resnet44"]
    claims = [
        dict(
            name="large_batch_loses_accuracy",
            statement="A large batch after the same epochs, with nothing else changed, loses test "
            "accuracy.",
            test="worse",
            arm="large_batch",
            baseline="small_batch",
        ),
        dict(
            name="square_root_scaling_gains",
            statement="The large batch is worse without the square root of the batch ratio on the "
            "learning rate.",
            test="worse",
            arm="large_batch",
            baseline="learning_rate",
        ),
        dict(
            name="ghost_batch_gains",
            statement="The large batch with that learning rate is worse without ghost batch "
            "normalisation.",
            test="worse",
            arm="learning_rate",
            baseline="ghost_batch",
        ),
        dict(
            name="regime_adaptation_gains",
            statement="With both, the large batch is worse without as many updates as the small "
            "batch.",
            test="worse",
            arm="ghost_batch",
            baseline="regime_adaptation",
        ),
        dict(
            name="regime_adaptation_keeps_accuracy",
            statement="With all three, the large batch has the small batch's test accuracy.",
            test="not_worse",
            arm="regime_adaptation",
            baseline="small_batch",
            margin=0.01,
        ),
    ]
    common_to_all = dict(
        source=f"{PAPER['citation']}, section 5, Table 1", tag="recalled", metric="val_accuracy"
    )
    return [
        claim
        | common_to_all
        | dict(paper=dict(arm=papers[claim["arm"]], baseline=papers[claim["baseline"]]))
        for claim in claims
    ]
