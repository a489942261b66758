"""`--config.KEY=VALUE`: which keys can be set, also such as the config lacks, and in which arms."""

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
    """Checks an override, and adds what the component takes and the config lacks.

    Args:
        config: complete; the keys that it lacks are added, without a value.
        key: such as "plan.epochs" or "arms.large.plan.epochs".
        value: as typed; None: none was.

    Raises:
        UserError: a key that neither the config has nor the component takes, one without effect, a
            section, or a number for a tuple.
    """
    parts = key.split(".")
    section, place = config, "config"
    for depth, name in enumerate(parts):
        if not isinstance(section, ConfigDict):
            raise UserError(unknown_name(place, name, []))
        if name not in section:
            if section is config:
                train_section.check_place(name, place)
            _add(config, section, parts[: depth + 1], place)
        section, place = section.get(name), f"{place}.{name}"
    if isinstance(section, ConfigDict):
        raise UserError(f"{place}: expected --{place}.KEY=VALUE with a KEY of "
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
    """Sets what was set for all arms also where an arm sets it itself, or its whole section.

    Args:
        config: with the values that the command line gives.
        keys: what it sets; a key of one arm stays as it is set there.

    Returns:
        A line for each key that took the place of an arm's own value.
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
            listed = ", ".join(f"{old!r} of {arm}" for arm, old in before.items())
            notes.append(f"{key}={value!r} in every arm, in the place of {listed}")
    return notes


def fitting_boundaries(config: ConfigDict, before: ConfigDict, arms: list[str]) -> dict:
    """What to set so that every plan of some arms can be made, where boundaries do not fit epochs.

    Args:
        config: with the values of the command line.
        before: the config without them.
        arms: those whose plans are wanted.

    Returns:
        Keys of `plan` and their values: the first failing arm's boundaries in proportion to its
        epochs, or none of them, and as many rates or factors; {} where no plan fails for its
        boundaries, or that does not help.
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
    """Boundaries, and what goes with each of them, cut to as many."""
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
    """Adds the last of the parts to a section that lacks it, or refuses it."""
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
    """The keys that a component takes; None: not known, as of one's own.

    Args:
        config: the whole.
        path: of the key, such as `["plan", "epochs"]`.
        section: the part of the config or of an arm that the key is in.
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
    """What lies at a path; None: nothing."""
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
