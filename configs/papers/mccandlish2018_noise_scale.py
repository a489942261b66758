"""McCandlish, Kaplan, Amodei 2018, "An empirical model of large-batch training", put to use.

Paper: arXiv:1812.06162, sections 2 and 3, equation 2.11, appendix A.1.
Claims: up to the critical batch size, which the gradient noise scale estimates, larger batches save
updates at almost no cost in examples. The gradient noise scale grows as the loss falls, so a batch
that grows with it (proposed in section 2.4) reaches the small batch's result with fewer updates.

Variants (`--config=configs/papers/mccandlish2018_noise_scale.py:VARIANT`):
    digits    scikit-learn's digits, embedded; small convolutional network; the default
    mnist     MNIST, the same network with 8 filters
    digits_adam           digits with Adam; the learning rate follows the gain or its square root
    digits_adam_tuning    tunes the small batch's learning rate on a held-out fifth
    digits_lars           the same with LARS
    digits_lars_tuning    tunes its learning rate
    mnist_adam            MNIST with Adam
    mnist_adam_tuning     tunes its learning rate
    mnist_lars            MNIST with LARS
    mnist_lars_tuning     tunes its learning rate

The learning rate is the best of five, a factor of 2 apart, for the small fixed batch, trained on
`train[:80%]` and evaluated on `train[80%:]` with other seeds. The other arms use the same rate, and
`AdaptiveBatchSize` has its defaults. The paper gives no numbers for these networks, so its claims
are tested against the small batch of the same run.

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.

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
    """Digits: 1,437 examples, batches of 8 up to 128 (a tenth).

    The rate is the best of 0.0025, 0.005, 0.01, 0.02, 0.04 for the small batch on the held-out
    fifth, seeds 100 and 101: 98.1, 98.8, 98.4, 98.6, 10.1 %.
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
    """MNIST: 60,000 examples, batches of 64 up to 4,096 (a tenth is 6,000).

    The rate is the best of 0.0025, 0.005, 0.01, 0.02, 0.04 for the small batch on the held-out
    fifth, seed 100 alone: 98.2, 98.5, 98.7, 98.7, 98.5 %.
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


# For other optimizers: the learning rates tried for the small batch on the held-out fifth (digits:
# seeds 100 and 101; MNIST: seed 100 alone), and the best of them.
_RATES = dict(
    digits=dict(
        adam=((0.001, 0.002, 0.004, 0.008, 0.016), 0.008),
        lars=((0.005, 0.01, 0.02, 0.04, 0.08), 0.02),
    ),
    mnist=dict(
        adam=((0.0005, 0.001, 0.002, 0.004, 0.008), 0.002),
        lars=((0.02, 0.04, 0.08, 0.16, 0.32), 0.04),
    ),
)
_OPTIMIZERS = dict(
    adam=dict(name="Adam"),
    lars=dict(name="LARS", trust_coefficient=0.1, weight_decay=5e-4),
)
_SCALINGS = dict(gain="gain", square_root_gain="gain's square root")


def _with_optimizer(config, optimizer):
    """AdaptiveBatchSize with another optimizer; the rate follows the gain or its square root."""
    small = config.plan.batch_size
    rates, chosen = _RATES[config.data.name][optimizer]
    config.optimizer = _OPTIMIZERS[optimizer]
    config.plan.learning_rate = chosen
    if optimizer == "adam":
        config.plan.momentum = 0.0
    arms = {name: config.arms[name].to_dict() for name in ("small_batch", "large_batch")}
    for scaling, words in _SCALINGS.items():
        arms[f"adaptive_{scaling}"] = dict(
            description=f"from {small} towards the critical batch size, the rate by the {words}",
            callbacks=dict(AdaptiveBatchSize=dict(scaling=scaling)),
        )
    config.arms = common.arms(arms)
    config.first_seed = 10
    config.seeds = 10 if config.data.name == "digits" else 3
    return config


def _tuning(config, optimizer):
    """Tunes the small batch's learning rate for that optimizer, on a held-out fifth."""
    config = _with_optimizer(config, optimizer)
    config.data.update(common.held_out(config.data.to_dict()))
    config.arms = common.arms(
        {
            common.rate_arm("small_batch", rate): dict(
                description=f"batch {config.plan.batch_size}, from {rate:g}",
                plan=dict(learning_rate=rate),
            )
            for rate in _RATES[config.data.name][optimizer][0]
        }
    )
    config.first_seed = common.FIRST_TUNING_SEED
    config.seeds = 2 if config.data.name == "digits" else 1
    return config


get_config = common.variants(
    digits=digits,
    mnist=mnist,
    digits_adam=lambda: _with_optimizer(digits(), "adam"),
    digits_adam_tuning=lambda: _tuning(digits(), "adam"),
    digits_lars=lambda: _with_optimizer(digits(), "lars"),
    digits_lars_tuning=lambda: _tuning(digits(), "lars"),
    mnist_adam=lambda: _with_optimizer(mnist(), "adam"),
    mnist_adam_tuning=lambda: _tuning(mnist(), "adam"),
    mnist_lars=lambda: _with_optimizer(mnist(), "lars"),
    mnist_lars_tuning=lambda: _tuning(mnist(), "lars"),
)


def get_claims(variant="digits"):
    """Returns the paper's claims and the tests that decide them (lbkeras.replication.claims)."""
    if variant.endswith("_tuning"):
        return []
    source = f"{PAPER['citation']}, section 2"
    adaptive = ("adaptive", "adaptive_linear", "adaptive_square_root")
    of_power = []
    if variant not in ("digits", "mnist", ""):
        adaptive = tuple(f"adaptive_{scaling}" for scaling in _SCALINGS)
        of_power = [
            dict(
                name="square_root_gain_is_better",
                statement="Under this optimizer the rate that follows the gain is worse than the "
                "rate that follows its square root.",
                source="AdaptDL's AdamScale (gain to the power 0.5 for Adam and RMSprop)",
                test="worse",
                arm="adaptive_gain",
                baseline="adaptive_square_root_gain",
            )
        ]
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
        *of_power,
    ]
    return [dict(source=source, tag="secondary") | claim for claim in claims]
