"""What configs share, and what the loader adds to them.

A config is a Python file whose `get_config()` returns its sections as a dict or ConfigDict; `data`,
`model` and `plan` must be there, `complete` adds the rest. A config of a paper imports this module
and ml_collections, nothing else.
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
_HYPERCUBE = 30  # a seed whose hyper-parameters are hardly correlated in 12 to 24 trials
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
# What they mean stands in `runs.train_section`.
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
# The section `metrics` of a config of ImageNet.
TOP_5 = dict(accuracy={}, top_5_accuracy=dict(name="SparseTopKCategoricalAccuracy", k=5))
# What Goyal et al. report, as the key `metric` and in claims.
MEDIAN_OF_LAST_5 = "val_accuracy_median_of_last_5"
_OWN_DATA = dict(test_batch_size=1000, augmentation="none")


def is_own(name) -> bool:
    """Whether a name is that of one's own component, `module:function`.

    >>> [is_own(name) for name in ("mine:make_model", "mlp", "tinyshakespeare.txt:64")]
    [True, False, False]
    """
    return isinstance(name, str) and ":" in name and not name.rpartition(":")[2].isdigit()


def complete(config: Mapping[str, Any] | ConfigDict) -> ConfigDict:
    """A config with every default, each key of which the command line can then set.

    A function in it stands for its name, `module:function`; a list of metrics for a section of them
    without arguments.

    Args:
        config: a dict, whose keys keep their order, or a ConfigDict, which is changed; with the
            sections `data`, `model` and `plan` at least.

    Raises:
        UserError: a function that no module has by its name.
    """
    if not isinstance(config, ConfigDict):
        config = _ordered(config)
    with config.unlocked():
        _name_functions(config)
        for key, value in _DEFAULTS.items():
            if key not in config:  # checks of ours say more than the type of a default
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
    """A dict as a ConfigDict whose keys keep their order, and so on inside; others as they are."""
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
    with section.ignore_type():  # which walks through all of it: not around the whole completion
        section[key] = value


def _name_of(value):
    """`module:function` of a function or class; any other value as it is."""
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        return value
    name = f"{value.__module__}:{value.__qualname__}"
    if "<" in name:
        raise UserError(f"config: expected functions at the top of a module, received {name}")
    return name


def _sections(arms):
    return [arm for arm in arms.values() if isinstance(arm, ConfigDict)] if arms else []


def _section_of(metrics) -> ConfigDict:
    """A list of metrics as a section; one of one's own is called as its function."""
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
    """A config: the sections of an experiment and the arms that differ from it.

    A component's `name` is one of lbkeras or Keras, or `module:function`, which is imported when it
    is needed, also from the config's folder.

    Args:
        data: `name`, `num_examples` of the training split, and what differs from the defaults here;
            of a set that stays on the disk also `image_size`, `resize`, `shuffle` and
            `shuffle_bytes`, of `lbkeras.data.load`.
            A function of one's own returns training and test data, each what `Pipeline` takes or a
            Pipeline; it gets the further keys, and `data_dir` if it takes one. `augmentation` may
            then be a function of one's own, `(x, seed) -> x` on a batch.
        model: `name` and the arguments of a function of `lbkeras.models`; with `ghost_batch_size`
            any of them has ghost batch normalization. A function of one's own returns an uncompiled
            Keras model, and gets `input_shape` if it takes one.
        plan: `name` and the arguments of a function of `lbkeras.planning`, or of one's own that
            returns a Plan.
        optimizer: `name` and the arguments of an optimizer of lbkeras or Keras, without learning
            rate and momentum, which the plan brings.
        train: `precision`, `jit_compile`, `steps_per_execution`, `validation_freq`, `ema_momentum`,
            `clipnorm`, `global_clipnorm`, `clipvalue`, as `lbkeras.runs.train_section` describes
            them; what is left out has its default.
        arms: for each arm what it sets differently, in the same sections, and a `description`.
        loss: `name` and the arguments of a loss of Keras, or a function `(y_true, y_pred)` of one's
            own; or such a section for each output of the model, with a `weight` if it is not 1.
        metrics: names, or for each name its arguments; with `name` the key is what is logged, with
            `output` it is of that output, with `better` ("higher", "lower") a claim can be made.
            Where nothing is said the accuracy, if the loss is a cross-entropy.
        metric: what a report is about, logged or derived from the history
            (`val_accuracy_median_of_last_5`, see `lbkeras.derived`); None: `val_accuracy`, else the
            first metric on unseen examples, else `val_loss`.
        targets: values to be reached, such as `dict(val_accuracy=0.759)`: the report says how many
            updates, epochs and seconds of training each run took. Claims and `metric` name them
            `updates_to_val_accuracy_at_least_0.759`, with `epochs_to_` and `seconds_to_`, and
            `at_most` where less is better.
        callbacks: names of callbacks that steer or measure, each with its arguments; with `name`
            the key may be any.
        train: `precision`, `jit_compile`, `steps_per_execution`, `validation_freq`, `ema_momentum`,
            `clipnorm`, `global_clipnorm`, `clipvalue`, as `lbkeras.runs.train_section` describes
            them; what is left out has its default.
        seeds: how many seeds `lbkeras replicate` runs.
        first_seed: the first of them; one that chooses a setting takes other seeds than the one
            that reports with it.
        checkpoint_minutes: how long a run may be unsaved inside an epoch.
        tuning: it chooses a setting: on `held_out` data, with seeds from 100 on.
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
    """Arms in the order they are written in: the first is the one that others compare with."""
    return ConfigDict(settings, sort_keys=False)


def variants(**functions: Callable[..., ConfigDict]) -> Callable[..., ConfigDict]:
    """The `get_config` of a config that has variants.

    >>> get_config = variants(digits=lambda tuning=False: tuning, mnist=lambda: "larger")
    >>> get_config(), get_config("mnist"), list(get_config.variants)
    (False, 'larger', ['digits', 'digits_tuning', 'mnist'])

    Args:
        **functions: for each variant the function that makes its config; the first is the default.
            One that takes `tuning` makes a second variant, NAME_tuning, by `tuning=True`.
    """
    made: dict[str, Callable[[], ConfigDict]] = {}
    for name, function in functions.items():
        made[name] = function
        if "tuning" in inspect.signature(function).parameters:
            made[f"{name}_tuning"] = functools.partial(function, tuning=True)

    def get_config(variant=""):
        """The config of a variant; an empty name is the first."""
        name = variant or next(iter(made))
        if name not in made:
            raise UserError(unknown_name("variant", name, made))
        return made[name]()

    get_config.variants = made
    return get_config


def imagenet(image_size: int = 224, **more: Any) -> dict[str, Any]:
    """The section `data` of ImageNet: 1,281,167 images to train on, 50,000 to evaluate on.

    Args:
        image_size: side of the images, in pixels, that a model is trained and evaluated on.
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
    """The section `data` with a fifth of the training split held out, which is tested on."""
    return data | dict(
        train_split="train[:80%]",
        test_split="train[80%:]",
        num_examples=round(0.8 * data["num_examples"]),
    )


def rates_around(middle: float) -> list[float]:
    """Five learning rates, a factor of 2 apart."""
    return [middle * multiple for multiple in (0.25, 0.5, 1.0, 2.0, 4.0)]


def polynomial_plan(
    epochs: int, batch_size: int, learning_rate: float, warmup_epochs: float, **more: Any
) -> dict[str, Any]:
    """The section `plan` of LARS' papers: linear warm-up from 0, polynomial decay of power 2 to 0.

    Args:
        epochs: as of `lbkeras.planning.polynomial_plan`, like the others.
        batch_size: global, in examples.
        learning_rate: the highest.
        warmup_epochs: until it is reached.
        **more: further keys, or others than momentum 0.9 and a final learning rate of 0.
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
    """Settings of several hyper-parameters to try: the middle of all, then a Latin hypercube.

    Each range is cut into `number - 1` parts, each of which one trial takes the middle of; which
    parts go together is drawn, the same at each call.

    >>> [each["learning_rate"] for each in trials(3, learning_rate=(0.01, 1.0), decay=(1e-5, 1e-3))]
    [0.1, 0.0316, 0.316]

    Args:
        number: of settings, the same for each that is compared.
        **ranges: for each hyper-parameter its least and its largest value, on a logarithmic scale
            unless "linear" follows; three digits of a value are kept.

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
    """The name of a tuning's arm, GROUP_rate_RATE; a ConfigDict's keys have no dots."""
    return f"{group}_rate_{rate:g}".replace(".", "_")
