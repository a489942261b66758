"""Two arms that take seconds. lbkeras 0.1.0 (commit d425c4a) wrote the files beside it with

    lbkeras replicate --config=configs/tiny.py --workdir=runs/tiny

and `killed`, stopped by SIGKILL after its second epoch, with `lbkeras train --arm=grows`.
"""

from lbkeras import config as common

PAPER = dict(
    citation="Nobody 2026",
    title="A tiny replication",
    arxiv="0000.00000",
    setting="nothing",
    arms=dict(small=dict(accuracy=0.95, updates=100, tag="A")),
)


def get_config(variant="digits"):
    """The one variant."""
    del variant
    return common.experiment(
        data=dict(name="digits", num_examples=1437, augmentation="none"),
        model=dict(name="mlp", num_classes=10, hidden_sizes=(8,)),
        optimizer=dict(name="SGD"),
        plan=dict(
            name="noise_scale_plan",
            strategy="decay_learning_rate",
            epochs=3,
            boundaries=(2,),
            factor=5.0,
            learning_rate=0.05,
            momentum=0.9,
            batch_size=48,
        ),
        arms=dict(
            small=dict(description="batch 48"),
            grows=dict(description="the batch grows", plan=dict(strategy="increase_batch")),
        ),
        seeds=2,
    )


def get_claims(variant="digits"):
    """One of each kind that a report tells apart."""
    del variant
    same = dict(arm="grows", baseline="small", source="nowhere", tag="A")
    return [
        dict(name="keeps", statement="The growing batch keeps the accuracy.", test="not_worse",
             metric="val_accuracy", margin=0.01, **same),
        dict(name="fewer", statement="It needs fewer updates.", test="ratio_at_least",
             metric="updates", ratio=1.2, **same),
    ]  # fmt: skip
