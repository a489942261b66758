"""`--config.KEY=VALUE`: which keys can be set, even if the config lacks them, and in which arms."""

import ast
import copy
import inspect

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from lbkeras.config import is_own
from lbkeras.errors import UserError, unknown_name
from lbkeras.runs import components, config_checks, experiment, train_section

_ENTRIES = config_checks.LISTS
_OPTIONAL = (config_checks.CALLBACKS, train_section.TRAIN)
_OF_AN_ENTRY = {"metrics": ("name", "output", "better"), "callbacks": ("name",)}


def check(config: ConfigDict, key: str, value: str | None) -> None:
    """Checks an override, and adds its key if the component takes it but the config lacks it.

    Args:
        config: a complete config; a key that it lacks is added without a value.
        key: such as "plan.epochs" or "arms.large.plan.epochs".
        value: the value as typed; None if there was none.

    Raises:
        UserError: the key is neither in the config nor taken by the component, it has no effect,
            it is a section, or its value must be a tuple and is not.
    """
    parts = key.split(".")
    section, place = config, "config"
    for depth, name in enumerate(parts):
        if not isinstance(section, ConfigDict):
            raise UserError(unknown_name(place, name, []))
        if name not in section:
            if section is config:
                train_section.check_place(name, place)
            if depth and parts[depth - 1] == "optimizer":
                experiment.check_not_planned(place, name, value)
            _add(config, section, parts[: depth + 1], place)
        section, place = section.get(name), f"{place}.{name}"
    if isinstance(section, ConfigDict):
        raise UserError(f"{place}: expected --{place}.KEY=VALUE where KEY is one of "
                        f"{', '.join(section)}, received --{place}={value}")  # fmt: skip
    if isinstance(section, tuple) and not _is_tuple(value):
        example = section or (1, 2)
        raise UserError(f"{place}: expected a tuple like {example}, received {value!r}")
    if parts[-1] == "name" and _every_arm_names(config, parts):
        raise UserError(
            f"{place}: expected a name that some arm takes from the config, received one that "
            f"every arm sets itself; use --config.arms.ARM.{key}={value}"
        )


def spread(config: ConfigDict, keys: list[str]) -> list[str]:
    """Sets values for all arms even where an arm sets the key, or the whole section, itself.

    Args:
        config: the config with the values from the command line.
        keys: the keys that the command line sets; one set for a single arm is left as it is.

    Returns:
        A line for each key that replaced an arm's own value.
    """
    notes = []
    for key in keys:
        if key.startswith("arms.") or "." not in key or key.endswith(".name"):
            continue
        *path, name = key.split(".")
        value, before = _at(config, key.split(".")), {}
        for arm, section in config.arms.items():
            if f"arms.{arm}.{key}" in keys:
                continue
            own = _at(section, path)
            if not isinstance(own, ConfigDict):
                continue
            if name in own:
                if own[name] != value:
                    before[arm] = own[name]
            elif "name" not in own or name not in (_taken(config, [*path, name], own) or (name,)):
                continue
            with config.unlocked(), own.ignore_type():
                own[name] = value
        if before:
            listed = ", ".join(f"{old!r} in {arm}" for arm, old in before.items())
            notes.append(f"{key}={value!r} in every arm, instead of {listed}")
    return notes


def fitting_boundaries(config: ConfigDict, before: ConfigDict, arms: list[str]) -> dict:
    """Returns what to set so that the arms' plans can be made if boundaries do not fit the epochs.

    Args:
        config: the config with the values from the command line.
        before: the config without those values.
        arms: the arms whose plans are needed.

    Returns:
        Keys of `plan` and their values: the boundaries of the first arm that fails, scaled with its
        epochs, or else no boundaries, and the learning rates or factors that go with them. {} if no
        plan fails because of its boundaries, or if neither helps.
    """
    for arm in arms:
        settings = experiment.arm_settings(config, arm)
        try:
            experiment.make_plan(settings)
        except UserError as error:
            if error.key != "plan.boundaries":
                return {}
            own, plan = experiment.arm_settings(before, arm)["plan"], settings["plan"]
            scale = plan["epochs"] / own.get("epochs", plan["epochs"])
            rounded = sorted({round(scale * each) for each in plan["boundaries"]})
            scaled = tuple(each for each in rounded if 0 < each < plan["epochs"])
            tried = (_with_boundaries(plan, each) for each in (scaled, ()))
            return next((each for each in tried if _fits(config, each, arms)), {})
    return {}


def _with_boundaries(plan: dict, boundaries: tuple) -> dict:
    """Returns the boundaries with the learning rates or factors cut to their number."""
    values = {"boundaries": boundaries}
    for key, more in (("learning_rates", 1), ("factor", 0)):
        if isinstance(plan.get(key), tuple | list):
            values[key] = tuple(plan[key][: len(boundaries) + more])
    return values


def _fits(config: ConfigDict, values: dict, arms: list[str]) -> bool:
    tried = copy.deepcopy(config)
    with tried.unlocked(), tried.plan.ignore_type():
        for key, value in values.items():
            tried.plan[key] = value
    spread(tried, [f"plan.{key}" for key in values])
    try:
        return all(experiment.make_plan(experiment.arm_settings(tried, arm)) for arm in arms)
    except UserError:
        return False


def _add(config: ConfigDict, section: ConfigDict, parts: list[str], place: str) -> None:
    """Adds the key's last part to a section that lacks it, or refuses it."""
    name = parts[-1]
    path = parts[2:] if parts[0] == "arms" else parts
    if parts[0] == "arms" and len(parts) == 2 or len(path) == 1 and len(parts) == 1:
        valid = _OPTIONAL if len(parts) == 1 else ()
        value = ConfigDict()
    elif len(path) == 1:
        valid, value = (*config_checks.SECTIONS, *_OPTIONAL), ConfigDict()
    elif len(path) == 2 and path[0] in _ENTRIES:
        valid, value = components.names(path[0]), ConfigDict()
    else:
        valid, value = _taken(config, path, section), placeholder(object)
    if valid is not None and name not in valid:
        if len(parts) == 1:
            train_section.check_place(name, place)
        raise UserError(unknown_name(place, name, dict.fromkeys([*section, *valid])))
    with config.unlocked():
        section[name] = value


def _taken(config: ConfigDict, path: list[str], section: ConfigDict) -> tuple | None:
    """Returns the keys that a component takes; None if unknown, as for the user's own.

    Args:
        config: the whole config.
        path: the key's path, such as `["plan", "epochs"]`.
        section: the part of the config or of an arm that holds the key.
    """
    kind = path[0]
    default = path[1] if kind in _ENTRIES else (_at(config, path[:-1]) or {}).get("name")
    name = section.get("name", default)
    if is_own(name):
        return None
    if kind == "plan":
        function = experiment.plan_functions().get(name)
        parameters = inspect.signature(function).parameters if function else ()
        return tuple(each for each in parameters if each != "num_examples")
    if kind == "data":
        return config_checks.OF_DATA
    if kind == config_checks.TARGETS:
        return None
    if kind == train_section.TRAIN:
        return tuple(train_section.DEFAULTS)
    if kind in components.NAMED:
        of_an_output = ("weight",) if kind == config_checks.LOSS and len(path) == 3 else ()
        more = (*_OF_AN_ENTRY.get(kind, ()), *of_an_output)
        return (*components.arguments_taken(kind, name), *more)
    return ()


def _at(section, path: list[str]):
    """Returns the value at a path; None if there is none."""
    for name in path:
        if not isinstance(section, ConfigDict) or name not in section:
            return None
        section = section[name]
    return section


def _every_arm_names(config: ConfigDict, parts: list[str]) -> bool:
    return parts[0] != "arms" and all(
        _at(arm, parts) is not None for arm in config.arms.values() if isinstance(arm, ConfigDict)
    )


def _is_tuple(value: str | None) -> bool:
    try:
        return isinstance(ast.literal_eval(value or ""), tuple | list)
    except (ValueError, SyntaxError):
        return False
