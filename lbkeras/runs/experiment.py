"""What a config (data only) says: its arms, the settings and the Plan of each.

A config has the sections `data`, `model`, `loss`, `metrics`, `optimizer` and `plan`, and `arms`:
for each setting that is compared, the values that differ, in the same sections. A component's
`name` is looked up in lbkeras, then in Keras; `module:function` is one's own (`components.py`).
Nothing here imports TensorFlow, and of one's own modules only that of the plan.

The section `callbacks`, which need not be there, holds what steers and measures while it trains:
the names of callbacks, each with its arguments. What only a run knows (`pipeline`, `validation`,
`plan`, `seed`, `file`) they get from the run.

The section `train` says how: precision, compilation, evaluation, averages of the weights, clipping;
see `train_section`.

An optimizer with `num_nodes` trains decentralized: the model is that many stacked nodes, and
`optimizer.topology` says who averages with whom. With `data.dirichlet_alpha` each node owns a part
of the data with labels of its own (the smaller, the more its own); with 0 or without it the nodes
take their rows of the same shuffled batches.
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
    """The names of a config's arms, in its order."""
    return list(config.arms)


def arm_settings(config, arm: str | None = None) -> dict[str, dict[str, Any]]:
    """The settings of one arm as plain dicts, a section each: the config's, then the arm's own.

    A section that gives a `name` stands for the config's whole section: another optimizer does not
    inherit this one's arguments. `loss` and `metrics` are left out where they are the defaults, so
    that runs from before there were such sections are resumed.

    Args:
        config: an `ml_collections.ConfigDict`, complete.
        arm: its name; None: the first.

    Raises:
        UserError: no such arm, an arm that sets a section which does not exist, or an optimizer
            with a learning rate or momentum, which the plan sets.
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
    for key in ("learning_rate", "momentum"):
        if key in settings["optimizer"]:
            raise UserError(
                f"optimizer.{key}: expected none, as the plan sets it (plan.{key}), received "
                f"{settings['optimizer'][key]!r}"
            )
    return settings


def _changes_kind(section: str, before: dict, values: dict) -> bool:
    """Whether an arm has a loss for each output where the config has one for all."""
    of_outputs = any(isinstance(value, dict) for value in values.values())
    return section == LOSS and "name" in before and of_outputs


def report_metric(config) -> tuple[str, str | None]:
    """The final value that a config's report is about, and which way it is better, if known.

    `config.metric`, else as `metrics.of_report` chooses from the first arm.

    Raises:
        UserError: an arm does not measure it.
    """
    settings = {arm: arm_settings(config, arm) for arm in arm_names(config)}
    first = next(iter(settings.values()))
    name = config.get("metric") or metrics.of_report(first)
    for arm, each in settings.items():
        check_metric(f"config.metric of arm {arm}", name, each)
    return name, metrics.better(name, first)


def report_targets(config) -> list[str]:
    """The targets of a config, each as what follows `updates_to_`; see `lbkeras.derived`.

    Raises:
        UserError: an arm does not measure it, it is not known which way it is better, or a value
            that cannot be reached.
    """
    values, names = config.get(TARGETS) or {}, []
    for arm in arm_names(config):
        try:
            names = metrics.targets(dict(values.items()), directions(config, arm))
        except UserError as error:
            raise UserError(f"config.{error} (arm {arm})") from None
    return names


def directions(config, arm: str | None = None) -> dict[str, str | None]:
    """Which way each final value of an arm is better, those left out that a run spends.

    Args:
        config: an `ml_collections.ConfigDict`, complete.
        arm: its name; None: the first.
    """
    settings = arm_settings(config, arm)
    names = [name for name in metrics.measured(settings) if not metrics.of(name).cost]
    return {name: metrics.better(name, settings) for name in names}


def check_metric(key: str, name: str, settings: dict) -> None:
    """Refuses a metric that no run of an arm has; what one's own callbacks log is not known.

    Raises:
        UserError: it has none of that name.
    """
    callbacks = settings.get(CALLBACKS, {}).items()
    if any(is_own(c.get("name", key)) for key, c in callbacks):
        return
    if not metrics.is_measured(name, settings):
        raise UserError(unknown_name(key, name, [*metrics.measured(settings), *FORMS]))


def seeds(config, number: int | None = None) -> list[int]:
    """The seeds that a replication runs: `number` of them, else the config's, from its first on.

    A config that chooses a setting has another first seed than the one that reports with it.

    Args:
        config: an `ml_collections.ConfigDict`.
        number: how many; None: `config.seeds`.

    Raises:
        UserError: the last one is above 2^32 − 1.
    """
    number = config.seeds if number is None else number
    first = config.get("first_seed", 0)
    if first + number - 1 > MOST_SEED:
        raise UserError(
            f"config.first_seed: expected {number} seeds up to {MOST_SEED}, received {first}"
        )
    return list(range(first, first + number))


def make_plans(config) -> dict[str, Plan]:
    """The Plan of each arm.

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
    """The Plan of an arm: the function `plan.name` of `lbkeras.planning` or of one's own, with the
    rest of `plan`.

    Raises:
        UserError: no such function, model or other component (by name, without importing any), a
            key that it does not take or that is missing, a value it refuses, a momentum for an
            optimizer that has none, or a batch size that the nodes do not divide.
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
    """The functions of `lbkeras.planning` that a config's plan may name."""
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
    name = settings["optimizer"]["name"]  # of one's own it is known when it is made
    for module in NAMED["optimizer"]:
        if arguments := argument_names(module, name):
            if "momentum" not in arguments:
                try:
                    check_without_momentum(plan, name)
                except UserError as error:
                    raise error.of("plan") from None
            return


def num_nodes(settings: dict) -> int | None:
    """How many nodes an arm trains decentralized with; None: it does not.

    Raises:
        UserError: `optimizer.num_nodes` is no whole number of at least 1.
    """
    nodes = settings["optimizer"].get("num_nodes")
    if nodes is not None and (not isinstance(nodes, int) or nodes < 1):
        raise UserError(f"optimizer.num_nodes: expected at least 1, received {nodes!r}")
    return nodes
