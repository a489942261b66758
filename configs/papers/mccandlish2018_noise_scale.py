"""McCandlish, Kaplan, Amodei 2018, "An empirical model of large-batch training", put to use.

Paper: arXiv:1812.06162; sections 2 and 3, equation 2.11, appendix A.1.
Claims: up to the critical batch size, which the gradient noise scale tells, larger batches save
updates at nearly no cost in examples; the noise scale grows while the loss falls, so a batch that
grows with it (section 2.4 of the paper proposes that) reaches the small batch's result with fewer
updates.

Variants (`--config=configs/papers/mccandlish2018_noise_scale.py:VARIANT`):
    digits    scikit-learn's digits, embedded; small convolutional network; the default
    mnist     MNIST, the same network with 8 filters

The learning rate is the best of five, a factor of 2 apart, for the small fixed batch, trained on
`train[:80%]` and judged on `train[80%:]` with other seeds; the other arms take it as it is, and
`AdaptiveBatchSize` has its defaults. The paper gives no numbers for these networks: what it claims
is tested against the small batch of the same run.

Run by us: see RESULTS.md for n, spread, hardware and hours.

    lbkeras replicate --config=configs/papers/mccandlish2018_noise_scale.py:digits \\
        --workdir=runs/mccandlish2018_digits
"""

from lbkeras import config as common

PAPER = dict(
    citation="McCandlish, Kaplan and Amodei 2018",
    title="An empirical model of large-batch training",
    arxiv="1812.06162",
    setting="MNIST to Dota; critical batch sizes, not accuracies",
    arms={},
)


def _experiment(*, data, model, epochs, learning_rate, small, large, seeds):
    def adaptive(**arguments):
        return dict(AdaptiveBatchSize=arguments)

    return common.experiment(
        data=data,
        model=model | dict(num_classes=10),
        optimizer=dict(name="SGD"),
        plan=dict(
            name="cosine_plan",
            epochs=epochs,
            batch_size=small,
            learning_rate=learning_rate,
            momentum=0.9,
            final_learning_rate=0.0,
        ),
        arms=dict(
            small_batch=dict(
                description=f"batch {small} all through",
                callbacks=dict(GradientNoiseScale={}),
            ),
            large_batch=dict(
                description=f"batch {large:,} all through, the same learning rate",
                plan=dict(batch_size=large),
            ),
            large_batch_linear=dict(
                description=f"batch {large:,} all through, the rate {large // small} times as high",
                plan=dict(batch_size=large, learning_rate=learning_rate * large / small),
            ),
            adaptive=dict(
                description=f"from {small} towards the critical batch size, the rate by the gain",
                callbacks=adaptive(),
            ),
            adaptive_linear=dict(
                description="the same, the learning rate in proportion",
                callbacks=adaptive(scaling="linear"),
            ),
            adaptive_square_root=dict(
                description="the same, the learning rate by the square root",
                callbacks=adaptive(scaling="square_root"),
            ),
        ),
        seeds=seeds,
    )


def digits():
    """Digits: batch 8 of 1,437 examples, at most 128 (a tenth).

    The rate: of 0.0025, 0.005, 0.01, 0.02, 0.04 for the small batch on the held-out fifth, seeds
    100 and 101: 98.1, 98.8, 98.4, 98.6, 10.1 %.
    """
    return _experiment(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="small_cnn", width=8),
        epochs=40,
        learning_rate=0.005,
        small=8,
        large=128,
        seeds=5,
    )


def mnist():
    """MNIST: batch 64 of 60,000 examples, at most 4,096 (a tenth is 6,000).

    The rate: of 0.0025, 0.005, 0.01, 0.02, 0.04 for the small batch on the held-out fifth, seed 100
    alone: 98.2, 98.5, 98.7, 98.7, 98.5 %.
    """
    return _experiment(
        data=dict(name="mnist", num_examples=60_000),
        model=dict(name="small_cnn", width=8),
        epochs=12,
        learning_rate=0.02,
        small=64,
        large=4096,
        seeds=3,
    )


_VARIANTS = dict(digits=digits, mnist=mnist)


def get_config(variant="digits"):
    """The config of a variant; an empty name is `digits`."""
    return common.choose(_VARIANTS, variant or "digits")()


def get_claims(variant="digits"):
    """What the paper claims, each with the test that decides it (lbkeras.replication.claims)."""
    source = f"{PAPER['citation']}, section 2"
    adaptive = ("adaptive", "adaptive_linear", "adaptive_square_root")
    claims = [
        dict(
            name="large_batch_loses_accuracy",
            statement="A batch far above the critical size from the start, with the same learning "
            "rate and epochs, loses test accuracy.",
            test="worse",
            arm="large_batch",
            baseline="small_batch",
        ),
        *(
            dict(
                name=f"{arm}_keeps_accuracy",
                statement="A batch that follows the critical size keeps the small batch's test "
                "accuracy after the same epochs.",
                test="not_worse",
                arm=arm,
                baseline="small_batch",
                margin=0.01,
            )
            for arm in adaptive
        ),
        *(
            dict(
                name=f"{arm}_saves_updates",
                statement="It needs at most a third of the updates.",
                test="ratio_at_least",
                arm=arm,
                baseline="small_batch",
                metric="updates",
                ratio=3.0,
            )
            for arm in adaptive
        ),
    ]
    return [dict(source=source, tag="T") | claim for claim in claims]
