"""What a config (data only) says: its arms, the settings and the Plan of each.

A config has the sections `data`, `model`, `optimizer` and `plan`, each a flat dict whose `name` is
looked up in lbkeras, then in Keras, and `arms`: for each setting that a paper compares, the values
that differ, in the same sections. Nothing here imports TensorFlow.

The section `callbacks`, which need not be there, holds what steers and measures while it trains:
the names of callbacks of lbkeras, each with its arguments. What only a run knows (`pipeline`,
`validation`, `plan`, `seed`, `file`) they get from the run.

The section `train` says how: precision, compilation, evaluation, averages of the weights, clipping;
see `train_section`.

An optimizer with `num_nodes` trains decentralized: the model is that many stacked nodes, and
`optimizer.topology` says who averages with whom. With `data.dirichlet_alpha` each node owns a part
of the data with labels of its own (the smaller, the more its own); with 0 or without it the nodes
take their rows of the same shuffled batches.
"""

import importlib
from typing import Any

from lbkeras.errors import UserError, unknown_name
from lbkeras.keras_internals.names import argument_names
from lbkeras.planning.plan import Plan, check_without_momentum
from lbkeras.planning.replicas import check_replicas
from lbkeras.runs import train_section
from lbkeras.runs.config_checks import (
    CALLBACKS,
    MOST_SEED,
    NAMED,
    SECTIONS,
    check_arguments,
    check_settings,
    name_and_arguments,
)


def arm_names(config) -> list[str]:
    """The names of a config's arms, in its order."""
    return list(config.arms)


def arm_settings(config, arm: str | None = None) -> dict[str, dict[str, Any]]:
    """The settings of one arm as plain dicts, a section each: the config's, then the arm's own.

    A section that gives a `name` stands for the config's whole section: another optimizer does not
    inherit this one's arguments.

    Args:
        config: an `ml_collections.ConfigDict`.
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
        if section == CALLBACKS:
            chosen = settings.setdefault(CALLBACKS, {})
            for name, arguments in values.items():
                chosen[name] = chosen.get(name, {}) | arguments
        elif "name" in values:
            settings[section] = values
        else:
            settings[section] = settings.get(section, {}) | values
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


def is_replaced_in_every_arm(config, key: str) -> bool:
    """Whether each arm sets `SECTION.KEY` itself, so that the config's own value has no effect."""
    section, _, name = key.partition(".")
    arms = [arm.get(section, {}) for arm in config.arms.values()]
    return bool(name) and all("name" in arm or name in arm for arm in arms)


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
    """The Plan of an arm: the function `plan.name` of `lbkeras.planning` with the rest of `plan`.

    Raises:
        UserError: no such function, model or optimizer (by name, without importing any), a key that
            it does not take or that is missing, a value it refuses, a momentum for an optimizer
            that has none, or a batch size that the nodes do not divide.
    """
    check_settings(settings)
    planning = importlib.import_module("lbkeras.planning")
    functions = {
        name: getattr(planning, name) for name in planning.__all__ if name.endswith("_plan")
    }
    name, arguments = name_and_arguments("plan", settings["plan"])
    if name not in functions:
        raise UserError(unknown_name("plan.name", name, functions))
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


def _check_momentum(settings: dict, plan: Plan) -> None:
    name = settings["optimizer"]["name"]
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
