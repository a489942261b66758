"""A config for `tools/check_resume.py` with much that a resume has to keep at once.

Both arms have batch norm (moving statistics) and dropout (random state):
    grown     the batch size grows within one `fit`
    restored  AutoWU, which keeps copies of the last epochs' states and restores one of them
"""

from lbkeras import config


def get_config():
    return config.experiment(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="wide_resnet", depth=10, width=1, num_classes=10, dropout=0.3),
        optimizer=dict(name="LARS"),
        plan=dict(
            name="noise_scale_plan",
            strategy="increase_batch",
            epochs=6,
            boundaries=(2, 4),
            factor=2.0,
            learning_rate=1.0,
            momentum=0.9,
            batch_size=96,
            max_batch_size=384,
        ),
        arms=dict(
            grown={},
            restored=dict(
                plan=dict(
                    name="auto_wu_plan",
                    epochs=14,
                    batch_size=128,
                    momentum=0.9,
                    max_learning_rate=1e4,
                    max_warmup_fraction=0.8,
                ),
                callbacks=dict(AutoWU=dict(restore=True)),
            ),
        ),
    )
