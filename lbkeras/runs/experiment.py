"""Reads a config, which is data only: its arms, and the settings and the Plan of each arm.

A config has the sections `data`, `model`, `loss`, `metrics`, `optimizer` and `plan`, and `arms`.
Each arm holds the values in which it differs, in the same sections. A component's `name` is looked
up in lbkeras, then in Keras; `module:function` is the user's own (`components.py`). This module
does not import TensorFlow, and of the user's own modules it imports only that of the plan.

The optional section `callbacks` holds the names of callbacks, each with its arguments. From the run
they get what only a run knows: `pipeline`, `validation`, `plan`, `seed` and `file`.

The section `train` sets precision, compilation, evaluation, averages of the weights and clipping;
see `train_section`.

An optimizer with `num_nodes` trains decentralized: the model is that many stacked nodes, and
`optimizer.topology` says which nodes average with each other. With `data.dirichlet_alpha` each node
owns a shard drawn with this Dirichlet concentration; smaller values mean fewer labels per node.
With 0 or without it, the nodes take their rows from the same shuffled batches.
"""

import importlib
from typing import Any

from lbkeras import config as defaults
from lbkeras import metrics
from lbkeras.config import is_own
from lbkeras.derived import FORMS
from lbkeras.errors import UserError, unknown_name
from lbkeras.keras_internals.names import argument_names
from lbkeras.planning.plan import Plan, check_without_momentum
from lbkeras.planning.replicas import check_replicas
from lbkeras.runs import train_section
from lbkeras.runs.components import NAMED, imported, said_of
from lbkeras.runs.config_checks import (
    CALLBACKS,
    LISTS,
    LOSS,
    METRICS,
    MOST_SEED,
    SECTIONS,
    TARGETS,
    check_arguments,
    check_settings,
    name_and_arguments,
    parameters_of,
)


def arm_names(config) -> list[str]:
    """Returns the names of a config's arms, in the config's order."""
    return list(config.arms)


def arm_settings(config, arm: str | None = None) -> dict[str, dict[str, Any]]:
    """Returns an arm's sections as plain dicts: the config's values, updated with the arm's own.

    If an arm's section gives a `name`, it replaces the config's whole section: another optimizer
    does not inherit the arguments of the config's. `loss` and `metrics` are left out if they are
    the defaults, so that runs from before these sections existed are resumed.

    Args:
        config: a complete `ml_collections.ConfigDict`.
        arm: the arm's name; None for the first arm.

    Raises:
        UserError: there is no such arm, it sets a section that does not exist, or the optimizer has
            a learning rate or momentum, which the plan sets.
    """
    names = arm_names(config)
    arm = names[0] if arm is None else arm
    if arm not in names:
        raise UserError(unknown_name("arm", arm, names))
    optional = (CALLBACKS, train_section.TRAIN)
    sections = [*SECTIONS, *(section for section in optional if section in config)]
    settings = {section: config[section].to_dict() for section in sections}
    for section, values in config.arms[arm].to_dict().items():
        if section == "description":
            continue
        if section not in (*SECTIONS, *optional):
            raise UserError(unknown_name(f"arms.{arm}", section, (*SECTIONS, *optional)))
        if section in LISTS:
            chosen = settings.setdefault(section, {})
            for name, entry in values.items():
                chosen[name] = entry if "name" in entry else chosen.get(name, {}) | entry
        elif "name" in values or _changes_kind(section, settings.get(section, {}), values):
            settings[section] = values
        else:
            settings[section] = settings.get(section, {}) | values
    settings[train_section.TRAIN] = train_section.values_of(
        settings, config.get("steps_per_execution", 0)
    )
    if settings[LOSS] == defaults.LOSS:
        del settings[LOSS]
    if settings[METRICS] == metrics.default_metrics(settings.get(LOSS)):
        del settings[METRICS]
    settings[train_section.TRAIN] = train_section.values_of(
        settings, config.get("steps_per_execution", 0)
    )
    for key, value in settings["optimizer"].items():
        check_not_planned("optimizer", key, value)
    return settings


def check_not_planned(section: str, key: str, value) -> None:
    """Refuses a key of the optimizer that the plan sets: a learning rate or momentum."""
    if key in ("learning_rate", "momentum"):
        raise UserError(
            f"{section}.{key}: expected none, as the plan sets it (plan.{key}), received {value!r}"
        )


def _changes_kind(section: str, before: dict, values: dict) -> bool:
    """Whether an arm has a loss per output while the config has a single loss."""
    of_outputs = any(isinstance(value, dict) for value in values.values())
    return section == LOSS and "name" in before and of_outputs


def report_metric(config) -> tuple[str, str | None]:
    """Returns the metric of a config's report, and whether "higher" or "lower" is better.

    The metric is `config.metric`, else the one that `metrics.of_report` chooses from the first arm.
    The direction is None if it is not known.

    Raises:
        UserError: an arm does not measure the metric.
    """
    settings = {arm: arm_settings(config, arm) for arm in arm_names(config)}
    first = next(iter(settings.values()))
    name = config.get("metric") or metrics.of_report(first)
    for arm, each in settings.items():
        check_metric(f"config.metric of arm {arm}", name, each)
    return name, metrics.better(name, first)


def report_targets(config) -> list[str]:
    """Returns a config's targets, each as the text after `updates_to_`; see `lbkeras.derived`.

    Raises:
        UserError: an arm does not measure a target's metric, it is not known in which direction
            the metric is better, or its value cannot be reached.
    """
    values, names = config.get(TARGETS) or {}, []
    for arm in arm_names(config):
        try:
            names = metrics.targets(dict(values.items()), directions(config, arm))
        except UserError as error:
            raise UserError(f"config.{error} (arm {arm})") from None
    return names


def directions(config, arm: str | None = None) -> dict[str, str | None]:
    """Returns for each final value of an arm, except costs, whether higher or lower is better.

    Args:
        config: a complete `ml_collections.ConfigDict`.
        arm: the arm's name; None for the first arm.
    """
    settings = arm_settings(config, arm)
    names = [name for name in metrics.measured(settings) if not metrics.of(name).cost]
    return {name: metrics.better(name, settings) for name in names}


def check_metric(key: str, name: str, settings: dict) -> None:
    """Refuses a metric that an arm's runs do not measure.

    With the user's own callbacks any name is accepted, as it is not known what they log.

    Raises:
        UserError: the arm's runs have no metric of that name.
    """
    callbacks = settings.get(CALLBACKS, {}).items()
    if any(is_own(c.get("name", key)) for key, c in callbacks):
        return
    if not metrics.is_measured(name, settings):
        raise UserError(unknown_name(key, name, [*metrics.measured(settings), *FORMS]))


def seeds(config, number: int | None = None) -> list[int]:
    """Returns the consecutive seeds of a replication, from the config's `first_seed`, default 0.

    A config that chooses a setting has a different first seed from the config that reports with it.

    Args:
        config: an `ml_collections.ConfigDict`.
        number: how many; None for `config.seeds`.

    Raises:
        UserError: the last seed is above 2^32 − 1.
    """
    number = config.seeds if number is None else number
    first = config.get("first_seed", 0)
    if first + number - 1 > MOST_SEED:
        raise UserError(
            f"config.first_seed: expected {number} seeds up to {MOST_SEED}, received {first}"
        )
    return list(range(first, first + number))


def make_plans(config) -> dict[str, Plan]:
    """Makes the Plan of each arm.

    Raises:
        UserError: as `make_plan`; the message begins with the arm.
    """
    plans = {}
    for arm in arm_names(config):
        try:
            plans[arm] = make_plan(arm_settings(config, arm))
        except UserError as error:
            raise UserError(f"arm {arm}: {error}") from None
    return plans


def make_plan(settings: dict) -> Plan:
    """Makes the Plan of an arm.

    Calls the function `plan.name`, from `lbkeras.planning` or the user's own, with the rest of
    `plan`.

    Raises:
        UserError: there is no such function, model or other component (checked by name, without
            importing any), a key is missing or not taken, a value is refused, the plan sets a
            momentum for an optimizer that has none, or the nodes do not divide a batch size.
    """
    check_settings(settings)
    name, arguments = name_and_arguments("plan", settings["plan"])
    plan = _own_plan(name, arguments, settings) if is_own(name) else None
    if plan is None:
        functions = plan_functions()
        if name not in functions:
            raise UserError(unknown_name("plan.name", name, [*functions, "module:function"]))
        arguments["num_examples"] = settings["data"]["num_examples"]
        check_arguments("plan", functions[name], arguments)
        try:
            plan = functions[name](**arguments)
        except UserError as error:  # names the argument
            raise error.of("data" if error.key == "num_examples" else "plan") from None
    _check_momentum(settings, plan)
    nodes = num_nodes(settings)
    if nodes:
        check_replicas(plan, nodes, "nodes")
    return plan


def plan_functions() -> dict:
    """Returns the functions of `lbkeras.planning` that a config's plan may name."""
    planning = importlib.import_module("lbkeras.planning")
    return {name: getattr(planning, name) for name in planning.__all__ if name.endswith("_plan")}


def _own_plan(name: str, arguments: dict, settings: dict) -> Plan:
    function = imported("plan.name", name)
    num_examples = settings["data"]["num_examples"]
    if "num_examples" in parameters_of(function):
        arguments["num_examples"] = num_examples
    check_arguments("plan", function, arguments)
    try:
        plan = function(**arguments)
    except UserError as error:
        raise error.of("plan") from None
    except Exception as error:
        raise UserError(
            f"plan.name: expected a function that runs, received {name!r}: {said_of(error)}"
        ) from error
    if not isinstance(plan, Plan):
        raise UserError(f"plan.name: expected a function that returns an lbkeras.planning.Plan, "
                        f"received {name!r}, which returns a {type(plan).__name__}")  # fmt: skip
    if plan.num_examples != num_examples:
        raise UserError(
            f"plan.name: expected a Plan of data.num_examples={num_examples} examples, received "
            f"one of {plan.num_examples} from {name!r}"
        )
    return plan


def _check_momentum(settings: dict, plan: Plan) -> None:
    name = settings["optimizer"]["name"]  # the user's own is checked when it is made
    for module in NAMED["optimizer"]:
        if arguments := argument_names(module, name):
            if "momentum" not in arguments:
                try:
                    check_without_momentum(plan, name)
                except UserError as error:
                    raise error.of("plan") from None
            return


def num_nodes(settings: dict) -> int | None:
    """Returns the number of nodes of decentralized training; None if the arm does not use it.

    Raises:
        UserError: `optimizer.num_nodes` is not a whole number of at least 1.
    """
    nodes = settings["optimizer"].get("num_nodes")
    if nodes is not None and (not isinstance(nodes, int) or nodes < 1):
        raise UserError(f"optimizer.num_nodes: expected at least 1, received {nodes!r}")
    return nodes
