"""Reading and setting what the callbacks steer in a Keras optimizer."""

import keras


def base_optimizer(optimizer):
    """The optimizer itself, under a loss-scaling wrapper if there is one."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def get_momentum(optimizer) -> float | None:
    """The momentum coefficient, or None for an optimizer without one (Adam)."""
    momentum = getattr(base_optimizer(optimizer), "momentum", None)
    return float(momentum) if isinstance(momentum, int | float) else None


def set_momentum(optimizer, momentum: float) -> None:
    """Sets the momentum coefficient, neither from 0 nor to 0: it acts from the next trace on."""
    base_optimizer(optimizer).momentum = float(momentum)


def last_learning_rate(optimizer) -> float:
    """The learning rate of the latest update (of the next one before the first)."""
    optimizer = base_optimizer(optimizer)
    rate = optimizer._learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(max(int(keras.ops.convert_to_numpy(optimizer.iterations)) - 1, 0))
    return float(f"{float(keras.ops.convert_to_numpy(rate)):.7g}")  # float32 as it was meant


def get_trust_ratios(optimizer) -> dict[str, float]:
    """The latest trust ratio of each layer, {} for an optimizer without any.

    A layer with several scaled variables (an LSTM's two kernels) has an entry for each, named by
    the variable's whole path.
    """
    read = getattr(base_optimizer(optimizer), "trust_ratios", dict)
    ratios = read()
    layers = [path.rpartition("/")[0] or path for path in ratios]
    return {
        layer if layers.count(layer) == 1 else path: ratio
        for layer, (path, ratio) in zip(layers, ratios.items(), strict=True)
    }
