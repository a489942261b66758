"""The config of `tools/check_resume.py` that no paper has: all that a resume has to keep, at once.

A batch that grows inside one `fit`, batch norm (moving statistics) and dropout (random state).
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
        arms=dict(grown={}),
    )
