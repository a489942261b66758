"""What configs share, and the defaults that the loader adds to them.

A config is a Python file whose `get_config()` returns its sections as a dict or ConfigDict. `data`,
`model` and `plan` are required; `complete` adds the rest. A paper's config imports only this module
and ml_collections.
"""

import functools
import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from lbkeras import metrics as logged
from lbkeras.errors import UserError, unknown_name

FIRST_TUNING_SEED = 100
_HYPERCUBE = 30  # with this seed the hyper-parameters of 12 to 24 trials are hardly correlated
REQUIRED = ("data", "model", "plan")
LOSS = dict(name=logged.ACCURACY_LOSS, from_logits=True)
_DEFAULTS = dict(
    loss=LOSS,
    optimizer=dict(name="SGD"),
    arms=dict(own=dict(description="the config's plan")),
    seeds=3,
    first_seed=0,
    checkpoint_minutes=10.0,
    train={},
    targets={},
)
_DATA = dict(train_split="train", test_split="test", test_batch_size=1000, augmentation="default")
# `runs.train_section` describes them.
TRAIN = dict(
    precision="float32",
    jit_compile="auto",
    steps_per_execution=0,
    validation_freq=1,
    ema_momentum=0.0,
    clipnorm=0.0,
    global_clipnorm=0.0,
    clipvalue=0.0,
)
# The section `metrics` of an ImageNet config.
TOP_5 = dict(accuracy={}, top_5_accuracy=dict(name="SparseTopKCategoricalAccuracy", k=5))
# What Goyal et al. report, as the key `metric` and in claims.
MEDIAN_OF_LAST_5 = "val_accuracy_median_of_last_5"
_OWN_DATA = dict(test_batch_size=1000, augmentation="none")


def is_own(name) -> bool:
    """Whether a name refers to the user's own component, `module:function`.

    >>> [is_own(name) for name in ("mine:make_model", "mlp", "tinyshakespeare.txt:64")]
    [True, False, False]
    """
    return isinstance(name, str) and ":" in name and not name.rpartition(":")[2].isdigit()


def complete(config: Mapping[str, Any] | ConfigDict) -> ConfigDict:
    """Returns a config with all defaults filled in, so that the command line can set every key.

    A function is replaced by its name, `module:function`, and a list of metrics by a section in
    which each has no arguments.

    Args:
        config: a dict, whose keys keep their order, or a ConfigDict, which is changed in place;
            with at least the sections `data`, `model` and `plan`.

    Raises:
        UserError: a function is a lambda or is not at the top level of a module.
    """
    if not isinstance(config, ConfigDict):
        config = _ordered(config)
    with config.unlocked():
        _name_functions(config)
        for key, value in _DEFAULTS.items():
            if key not in config:  # untyped: our own checks give better messages
                untyped = isinstance(value, dict)
                config[key] = ConfigDict(value, type_safe=False) if untyped else value
        for place in (config, *_sections(config.get("arms"))):
            if isinstance(place.get("metrics"), list | tuple | str):
                _replace(place, "metrics", _section_of(place.metrics))
        if "metric" not in config:
            config.metric = placeholder(str)
        if "metrics" not in config and isinstance(config.loss, ConfigDict):
            config.metrics = logged.default_metrics(config.loss)
        if isinstance(config.data, ConfigDict):
            defaults = _OWN_DATA if is_own(config.data.get("name")) else _DATA
            _add_missing(config.data, defaults)
        if isinstance(config.train, ConfigDict):
            _add_missing(config.train, TRAIN)
    return config


def _add_missing(section: ConfigDict, defaults: dict) -> None:
    for key, value in defaults.items():
        if key not in section:
            section[key] = value


def _ordered(value):
    """Converts a dict, and the dicts inside it, to a ConfigDict whose keys keep their order."""
    if isinstance(value, ConfigDict) or not isinstance(value, Mapping):
        return value
    return ConfigDict({key: _ordered(each) for key, each in value.items()}, sort_keys=False)


def _name_functions(section: ConfigDict) -> None:
    for key, value in section.items():
        if isinstance(value, ConfigDict):
            _name_functions(value)
            continue
        several = isinstance(value, list | tuple)
        named = type(value)(map(_name_of, value)) if several else _name_of(value)
        if named != value:
            _replace(section, key, named)


def _replace(section: ConfigDict, key: str, value) -> None:
    """Sets a key to a value of another type."""
    with section.ignore_type():  # walks through the whole section, so only around this
        section[key] = value


def _name_of(value):
    """Returns a function or class as `module:function`, any other value unchanged."""
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        return value
    name = f"{value.__module__}:{value.__qualname__}"
    if "<" in name:
        raise UserError(f"config: expected functions at the top of a module, received {name}")
    return name


def _sections(arms):
    return [arm for arm in arms.values() if isinstance(arm, ConfigDict)] if arms else []


def _section_of(metrics) -> ConfigDict:
    """Returns a list of metrics as a section; the user's own are named after their functions."""
    section = {}
    for name in [metrics] if isinstance(metrics, str) else metrics:
        if is_own(name):
            section[name.partition(":")[2].rpartition(".")[2]] = dict(name=name)
        else:
            section[str(name)] = {}
    return ConfigDict(section, sort_keys=False)


def experiment(
    *,
    data: dict[str, Any],
    model: dict[str, Any],
    plan: dict[str, Any],
    optimizer: dict[str, Any] | None = None,
    arms: Mapping[str, dict[str, Any]] | None = None,
    loss: dict[str, Any] | None = None,
    metrics: dict[str, dict[str, Any]] | Sequence[Any] | None = None,
    metric: str | None = None,
    targets: dict[str, float] | None = None,
    callbacks: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    seeds: int = 3,
    first_seed: int = 0,
    checkpoint_minutes: float = 10.0,
    tuning: bool = False,
) -> ConfigDict:
    """Returns a config: the sections of an experiment and the arms that differ from it.

    A component's `name` is one of lbkeras' or Keras' names, or `module:function`, which is imported
    on use; the module may be in the config's folder.

    Args:
        data: `name`, `num_examples` of the training split, and any keys that differ from the
            defaults of this module; for a data set that stays on disk also `image_size`, `resize`,
            `shuffle` and `shuffle_bytes` of `lbkeras.data.load`.
            A function of your own returns training and test data, each a Pipeline or what
            `Pipeline` accepts. It receives the other keys, and `data_dir` if it has that argument.
            `augmentation` may then be a function of your own as well, `(x, seed) -> x` on a batch.
        model: `name` and the arguments of a function in `lbkeras.models`; `ghost_batch_size` gives
            any of them ghost batch normalization. A function of your own returns an uncompiled
            Keras model and receives `input_shape` if it has that argument.
        plan: `name` and the arguments of a function in `lbkeras.planning`, or of your own function
            that returns a Plan.
        optimizer: `name` and the arguments of an optimizer of lbkeras or Keras, without learning
            rate and momentum, which come from the plan.
        arms: for each arm the settings that differ, in the same sections, and a `description`.
        loss: `name` and the arguments of a Keras loss, or a function `(y_true, y_pred)` of your
            own; or one such section per output of the model, with a `weight` if it is not 1.
        metrics: a list of names, or a dict from each name to its arguments. If an entry has a
            `name`, its key is the name in the log; `output` is the output that it measures;
            `better` ("higher" or "lower") lets claims use it. Default: the accuracy, if the loss is
            a cross-entropy.
        metric: the metric of the report, logged or derived from the history
            (`val_accuracy_median_of_last_5`, see `lbkeras.derived`); None: `val_accuracy`, else the
            first metric on unseen examples, else `val_loss`.
        targets: values to reach, such as `dict(val_accuracy=0.759)`: the report says how many
            updates, epochs and seconds of training each run needed. Claims and `metric` name them
            `updates_to_val_accuracy_at_least_0.759`, also with `epochs_to_` and `seconds_to_`, and
            with `at_most` where lower is better.
        callbacks: names of callbacks that control or measure training, each with its arguments; if
            an entry has a `name`, its key is arbitrary.
        train: `precision`, `jit_compile`, `steps_per_execution`, `validation_freq`, `ema_momentum`,
            `clipnorm`, `global_clipnorm`, `clipvalue`, as described in
            `lbkeras.runs.train_section`; missing keys have their defaults.
        seeds: number of seeds that `lbkeras replicate` runs.
        first_seed: the first seed. A config that chooses a setting uses other seeds than the config
            that reports results with it.
        checkpoint_minutes: longest time without a checkpoint inside an epoch.
        tuning: whether this config chooses a setting: on `held_out` data, with seeds from 100.
    """
    if tuning:
        data, first_seed = held_out(data), FIRST_TUNING_SEED
    given = dict(
        data=data,
        model=model,
        plan=plan,
        optimizer=optimizer,
        arms=arms,
        loss=loss,
        metrics=metrics,
        metric=metric,
        targets=targets,
        callbacks=callbacks,
        train=train,
        seeds=seeds,
        first_seed=first_seed,
        checkpoint_minutes=checkpoint_minutes,
    )
    return complete({key: value for key, value in given.items() if value is not None})


def arms(settings: Mapping[str, Any]) -> ConfigDict:
    """Returns arms in the order they are written; the others are compared with the first."""
    return ConfigDict(settings, sort_keys=False)


def variants(**functions: Callable[..., ConfigDict]) -> Callable[..., ConfigDict]:
    """Returns the `get_config` of a config with variants.

    >>> get_config = variants(digits=lambda tuning=False: tuning, mnist=lambda: "larger")
    >>> get_config(), get_config("mnist"), list(get_config.variants)
    (False, 'larger', ['digits', 'digits_tuning', 'mnist'])

    Args:
        **functions: for each variant the function that returns its config; the first is the
            default. A function with an argument `tuning` also makes the variant NAME_tuning, by
            `tuning=True`.
    """
    made: dict[str, Callable[[], ConfigDict]] = {}
    for name, function in functions.items():
        made[name] = function
        if "tuning" in inspect.signature(function).parameters:
            made[f"{name}_tuning"] = functools.partial(function, tuning=True)

    def get_config(variant=""):
        """Returns the config of a variant, of the first one if the name is empty."""
        name = variant or next(iter(made))
        if name not in made:
            raise UserError(unknown_name("variant", name, made))
        return made[name]()

    get_config.variants = made
    return get_config


def imagenet(image_size: int = 224, **more: Any) -> dict[str, Any]:
    """Returns the section `data` of ImageNet: 1,281,167 training and 50,000 validation images.

    Args:
        image_size: side length in pixels of the images in training and evaluation.
        **more: further keys.
    """
    return dict(
        name="imagenet2012",
        num_examples=1_281_167,
        test_split="validation",
        image_size=image_size,
        **more,
    )


def held_out(data: dict[str, Any]) -> dict[str, Any]:
    """Returns the section `data` with a fifth of the training split held out for testing."""
    return data | dict(
        train_split="train[:80%]",
        test_split="train[80%:]",
        num_examples=round(0.8 * data["num_examples"]),
    )


def rates_around(middle: float) -> list[float]:
    """Returns five learning rates around `middle`, each twice the one before."""
    return [middle * multiple for multiple in (0.25, 0.5, 1.0, 2.0, 4.0)]


def polynomial_plan(
    epochs: int, batch_size: int, learning_rate: float, warmup_epochs: float, **more: Any
) -> dict[str, Any]:
    """Returns the section `plan` of the LARS papers: linear warm-up from 0, then decay to 0.

    The decay is polynomial with power 2. The arguments are those of
    `lbkeras.planning.polynomial_plan`.

    Args:
        epochs: number of epochs.
        batch_size: global batch size, in examples.
        learning_rate: peak learning rate.
        warmup_epochs: epochs until the peak.
        **more: further keys, which may also replace momentum 0.9 and final learning rate 0.
    """
    return dict(
        name="polynomial_plan",
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        momentum=0.9,
        power=2.0,
        final_learning_rate=0.0,
        warmup_epochs=warmup_epochs,
        warmup_initial=0.0,
    ) | dict(more)


def trials(number: int, **ranges: tuple) -> list[dict[str, float]]:
    """Returns hyper-parameter settings to try: the middle of all ranges, then a Latin hypercube.

    Each range is divided into `number - 1` parts, and each trial takes the middle of one part. The
    parts are combined at random, in the same way in every call.

    >>> [each["learning_rate"] for each in trials(3, learning_rate=(0.01, 1.0), decay=(1e-5, 1e-3))]
    [0.1, 0.0316, 0.316]

    Args:
        number: number of settings, the same for every arm that is compared.
        **ranges: for each hyper-parameter its smallest and largest value, on a logarithmic scale
            unless "linear" follows. Values are rounded to three digits.

    Reference: McKay, Beckman, Conover, Technometrics 21, 1979.
    """
    drawn, found = random.Random(_HYPERCUBE), [{} for _ in range(number)]
    for name, (least, most, *scale) in ranges.items():
        shares = [(part + 0.5) / (number - 1) for part in range(number - 1)]
        drawn.shuffle(shares)
        for setting, share in zip(found, [0.5, *shares], strict=True):
            linear = least + (most - least) * share
            setting[name] = float(f"{linear if scale else least * (most / least) ** share:.3g}")
    return found


def rate_arm(group: str, rate: float) -> str:
    """Returns the name of a tuning arm, GROUP_rate_RATE; keys of a ConfigDict have no dots."""
    return f"{group}_rate_{rate:g}".replace(".", "_")
