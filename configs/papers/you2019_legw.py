"""You et al. 2019, "Large-Batch Training for LSTM and Beyond" (LEGW).

Paper: arXiv:1901.08256; the MNIST, language-model and ImageNet applications.
Claims: k times the batch keeps the small batch's accuracy with the learning rate times the square
root of k and k times the warm-up epochs ("linear-epoch gradual warm-up"), without tuning at the
larger batches: up to 64 times the batch for LSTMs, up to 32,768 for ResNet-50 on ImageNet.

Variants (`--config=configs/papers/you2019_legw.py:VARIANT`):
    digits        scikit-learn's digits, embedded, read row by row; LSTM of 32; batches of 8 to 512
    mnist         MNIST read row by row; LSTM of 32; batches of 128 to 8,192
    characters    a character language model, LSTM of 128; batches of 16 to 512
    cifar10       CIFAR-10, ResNet-8 with 8 filters; batches of 128 to 2,048
    paper_mnist   MNIST, LSTM of 128, 25 epochs; batches of 128 to 8,192
    imagenet      ResNet-50 with LARS, 90 epochs; batches of 1,024 to 32,768

At the largest batch, except in `imagenet`, LEGW is compared with its alternatives: nothing changed,
linear scaling with the small batch's warm-up epochs, and LEGW's learning rate with the small
batch's warm-up epochs. The base learning rate is tuned for the small batch alone, on held-out data;
each variant's docstring says how. Gradients are clipped to a global norm of 1, except in
`imagenet`. The epochs, warm-ups and smaller networks are ours.

`characters` reads tinyshakespeare.txt (karpathy/char-rnn, 1.1 MB) in the folder that --data_dir
names; for another text set --config.data.name, with its num_examples and vocabulary_size.

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.
Not run by us: cifar10, paper_mnist and imagenet.

    lbkeras replicate --config=configs/papers/you2019_legw.py:digits --workdir=runs/you2019_digits
"""

from lbkeras import config as common

PAPER = dict(
    citation="You et al. 2019",
    title="Large-Batch Training for LSTM and Beyond",
    arxiv="1901.08256",
    setting="MNIST with an LSTM, batches of 128 to 8,192; ResNet-50, batches of 1,024 to 32,768",
    arms={},  # we do not know the accuracies per batch size
)


def _experiment(*, data, model, plan, batches, optimizer=None, compared=True, **more):
    """LEGW at each batch size, of which the first is the base; then its rivals at the last."""
    base, largest = batches[0], batches[-1]
    arms = {
        f"legw_{size}": dict(
            description=f"LEGW, batch {size:,}: learning rate times {(size / base) ** 0.5:.4g}, "
            f"warm-up epochs times {size / base:g}"
            if size != base
            else f"batch {size:,}",
            plan=dict(batch_size=size),
        )
        for size in batches
    }
    if compared:
        arms |= {
            f"unscaled_{largest}": dict(
                description=f"batch {largest:,}, nothing else changed",
                plan=dict(batch_size=largest, scaling="none", scale_warmup=False),
            ),
            f"linear_{largest}": dict(
                description=f"batch {largest:,}, learning rate times {largest / base:g}",
                plan=dict(batch_size=largest, scaling="linear", scale_warmup=False),
            ),
            f"square_root_{largest}": dict(
                description=f"batch {largest:,}, learning rate times "
                f"{(largest / base) ** 0.5:.4g}, the small batch's warm-up epochs",
                plan=dict(batch_size=largest, scale_warmup=False),
            ),
        }
    defaults = dict(
        name="legw_plan",
        base_batch_size=base,
        batch_size=base,
        momentum=0.9,
        decay="constant",
        scaling="square_root",
        scale_warmup=True,
    )
    return common.experiment(
        data=data,
        model=model,
        optimizer=optimizer or dict(name="SGD", global_clipnorm=1.0),
        plan=defaults | plan,
        arms=arms,
        **more,
    )


def digits():
    """Digits, a row of 8 pixels per time step; the largest batch makes 2 updates per epoch.

    The base rate is the best of 0.01, 0.02, 0.05, 0.1, 0.2 for the small batch, trained on
    `train[:80%]` and evaluated on `train[80%:]`, seeds 100 to 102: 96.2, 96.1, 96.3, 96.5, 78.7 %.
    """
    return _experiment(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="row_lstm", num_classes=10, units=32, projection=32),
        plan=dict(epochs=30, base_learning_rate=0.1, base_warmup_epochs=0.1),
        batches=(8, 64, 512),
        seeds=20,
        first_seed=10,
    )


def mnist():
    """MNIST; the largest batch makes 7 updates per epoch.

    The base rate is the best of 0.02, 0.05, 0.1, 0.2, 0.5 for the small batch, trained on
    `train[:80%]` and evaluated on `train[80%:]`, seed 100: 97.2, 97.5, 95.8, 87.4, 58.1 %.
    """
    return _experiment(
        data=dict(name="mnist", num_examples=60_000),
        model=dict(name="row_lstm", num_classes=10, units=32, projection=32),
        plan=dict(epochs=15, base_learning_rate=0.05, base_warmup_epochs=0.06),
        batches=(128, 1024, 8192),
    )


def characters():
    """Characters in windows of 64; exponential decay as for Penn Treebank's small network.

    The base rate is the one of 0.2, 0.5, 1, 2, 4, 8 with the lowest loss for the small batch on the
    validation part after 2 epochs, seed 100: 2.017, 1.831, 1.719, 1.644, 1.604, 1.605 (accuracies
    40.9, 45.8, 49.0, 50.9, 51.9, 52.0 %).
    """
    return _experiment(
        data=dict(name="tinyshakespeare.txt:64", num_examples=15_685),
        model=dict(
            name="lstm_language_model",
            vocabulary_size=65,
            embedding=64,
            units=128,
            layers=1,
            dropout=0.0,
        ),
        plan=dict(
            epochs=6,
            base_learning_rate=4.0,
            base_warmup_epochs=0.06,
            decay="exponential",
            factor=10.0,
        ),
        batches=(16, 128, 512),
    )


def cifar10():
    """CIFAR-10, ResNet small enough for two CPU cores; the base rate of 0.1 is not tuned."""
    return _experiment(
        data=dict(name="cifar10", num_examples=50_000),
        model=dict(name="cifar_resnet", depth=8, width=8, num_classes=10, weight_decay=1e-4),
        plan=dict(
            epochs=20,
            base_learning_rate=0.1,
            base_warmup_epochs=0.3125,
            decay="polynomial",
            power=2.0,
        ),
        batches=(128, 512, 2048),
    )


def paper_mnist():
    """MNIST with the paper's LSTM; epochs, rate and warm-up are ours, the paper's are unknown."""
    return _experiment(
        data=dict(name="mnist", num_examples=60_000),
        model=dict(name="row_lstm", num_classes=10, units=128, projection=128),
        plan=dict(epochs=25, base_learning_rate=0.1, base_warmup_epochs=0.1),
        batches=(128, 256, 512, 1024, 2048, 4096, 8192),
    )


def imagenet():
    """ResNet-50 with LARS: rates 2^2.5 to 2^5, warm-up 10/32 to 10 epochs, recalled with doubt.

    Weight decay (of kernels, in LARS) is recalled too. We do not know the paper's trust
    coefficient, image sizes, augmentation and initialization: they are those of LARS and of Goyal
    et al., without label smoothing.
    """
    return _experiment(
        data=common.imagenet(),
        model=dict(name="resnet50", num_classes=1000, weight_decay=0.0),
        metrics=common.TOP_5,
        optimizer=dict(name="LARS", trust_coefficient=0.001, weight_decay=1e-4),
        plan=dict(
            epochs=90,
            base_learning_rate=2**2.5,
            base_warmup_epochs=0.3125,
            decay="polynomial",
            power=2.0,
        ),
        batches=(1024, 2048, 4096, 8192, 16_384, 32_768),
        seeds=1,
        compared=False,
    )


get_config = common.variants(
    digits=digits,
    mnist=mnist,
    characters=characters,
    cifar10=cifar10,
    paper_mnist=paper_mnist,
    imagenet=imagenet,
)


def get_claims(variant="digits"):
    """Returns the paper's claims and the tests that decide them (lbkeras.replication.claims)."""
    arms = list(get_config(variant).arms)
    base, *larger = [arm for arm in arms if arm.startswith("legw_")]
    rivals = [arm for arm in arms if not arm.startswith("legw_")]
    words = dict(
        unscaled="with nothing else changed",
        linear="with linear scaling and the small batch's warm-up",
        square_root="with square-root scaling and the small batch's warm-up",
    )
    keeps = [
        dict(
            name=f"{arm}_keeps_accuracy",
            statement=f"With LEGW and no tuning, batch {int(arm.split('_')[1]):,} has the test "
            f"accuracy of batch {int(base.split('_')[1]):,} after the same epochs.",
            source=f"{PAPER['citation']}, abstract",
            tag="stated",
            test="not_worse",
            arm=arm,
            baseline=base,
            metric="val_accuracy",
            margin=0.01,
        )
        for arm in larger
    ]
    beats = [
        dict(
            name=f"legw_beats_{rival}",
            statement=f"The largest batch {words[rival.rsplit('_', 1)[0]]} has a lower test "
            "accuracy than with LEGW.",
            source=f"{PAPER['citation']}, comparison with other tuning",
            tag="recalled",
            test="worse",
            arm=rival,
            baseline=larger[-1],
            metric="val_accuracy",
        )
        for rival in rivals
    ]
    return keeps + beats
