"""The config that the tests of a run's settings and objects modify."""

from lbkeras import config


def small_config(**arms):
    """Returns a config of digits and a small network, by default with one arm."""
    return config.experiment(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="mlp", num_classes=10, hidden_sizes=(8,)),
        optimizer=dict(name="SGD", nesterov=True),
        plan=dict(
            name="noise_scale_plan", strategy="hybrid", epochs=4, boundaries=(2,), factor=5.0,
            learning_rate=0.1, momentum=0.9, batch_size=20,
        ),
        arms=arms or dict(first={}),
    )  # fmt: skip
