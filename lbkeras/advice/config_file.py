"""Writes the advisor's recommendation as a config."""

import datetime
import json
import math
import shlex
import textwrap
from pathlib import Path

from lbkeras import files
from lbkeras.advice.words import format_reasons, reasons
from lbkeras.config import is_own
from lbkeras.errors import UserError
from lbkeras.replication.default_claims import default_claims
from lbkeras.runs import components, experiment, machine

_SETTINGS = ("metric", "seeds", "first_seed", "checkpoint_minutes")


def check_destination(path: str) -> Path:
    """Returns the file to write, checked to be a new .py file in an existing folder.

    Raises:
        UserError: it is not.
    """
    file = Path(path)
    if file.suffix != ".py":
        raise UserError(f"--write: expected a file that ends in .py, received {path!r}")
    if file.exists():
        raise UserError(f"--write: expected a new file, received {path!r}, which already exists")
    if not file.parent.is_dir():
        raise UserError(f"--write: expected a folder that exists, received {str(file.parent)!r}")
    return file


def check_modules(file: Path, settings: dict) -> None:
    """Checks that the config's own components can be imported from where `file` is written.

    Raises:
        UserError: a component is defined in the config's folder, and `file` is in another folder.
    """
    for name in filter(is_own, _texts(settings)):
        source = components.file_of(name)
        if source is not None and source.parent != file.resolve().parent:
            raise UserError(
                f"--write: expected a file in the folder of {source}, from which the config takes "
                f"{name!r}, received {str(file)!r}"
            )


def write_config(file: Path, config, arm: str, named: str, command: str, advice, table: str):
    """Writes a config that compares the recommendation with the measured config's arm.

    Args:
        file: from `check_destination`.
        config: the measured ConfigDict.
        arm: the measured arm.
        named: the config's name, FILE[:VARIANT].
        command: the command line that the user typed.
        advice: from `lbkeras.advice.advisor.advise`.
        table: the printed table of both plans.

    Raises:
        UserError: a setting of the config cannot be written as Python.
    """
    settings = experiment.arm_settings(config, arm)
    plan = advice.plan.to_dict()
    phases = [
        {name: phase[name] for name in ("first_epoch", "epochs", "batch_size", "learning_rate",
                                        "momentum")}
        for phase in plan["phases"]
    ]  # fmt: skip
    written = {"name": "explicit_plan", "phases": tuple(phases)}
    if "curve" in plan:
        written["curve"] = tuple(plan["curve"])
    arms = {
        "recommended": {"description": "what `lbkeras plan --auto` recommends", "plan": written},
        "own": {"description": f"the plan of {named}, arm {arm}"},
    }
    metric, better = experiment.report_metric(config)
    more = {name: config[name] for name in _SETTINGS if config.get(name) is not None}
    if config.get("targets"):
        more["targets"] = config.targets.to_dict()
    text = _CONFIG.format(
        docstring=_docstring(file, arm, named, command, advice, table),
        settings=_python(settings | more, "config"),
        arms=_python(arms, "config.arms"),
        claims=_python(default_claims(["own", "recommended"], metric, better), "claims"),
    )
    files.write_atomically(file, text.encode())


_CONFIG = '''"""{docstring}"""

SETTINGS = {settings}

ARMS = {arms}

CLAIMS = {claims}


def get_config():
    """Returns the config; it has no variants."""
    return SETTINGS | dict(arms=ARMS)


def get_claims():
    """Returns the claims that the recommendation implies."""
    return CLAIMS
'''


def _texts(value) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    return [value] if isinstance(value, str) else []


def _docstring(file: Path, arm: str, named: str, command: str, advice, table: str) -> str:
    hardware, versions = machine.hardware(), machine.versions()
    where = f"{hardware['processor']}, {hardware['cpu_count']} cores"
    if hardware["accelerators"]:
        where += f", {len(hardware['accelerators'])} accelerators"
    used = ", ".join(f"{name} {versions[name]}" for name in ("lbkeras", "tensorflow", "keras"))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = [
        f"The plan that `lbkeras plan --auto` recommends for {Path(named).name}, arm {arm}.",
        "",
        *_wrapped(f"It is for {named}, arm {arm}, whose own plan is the arm `own` here."),
        "",
        *_wrapped(f"Made on {today} on {where}; {used}; with"),
        "",
        f"    {command}",
        "",
        "Measured and predicted:",
        "",
        *(f"  {line}".rstrip() for line in table.splitlines()),
        "",
        "Why:",
        "",
        format_reasons(reasons(advice)),
        "",
        "To train it, and to compare it with the config's own plan:",
        "",
        f"    lbkeras train --config={shlex.quote(str(file))} --workdir=runs/{file.stem}",
        f"    lbkeras replicate --config={shlex.quote(str(file))} "
        f"--workdir=runs/{file.stem}_compared",
        "",
    ]
    return "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def _python(value, key: str, indent: int = 0) -> str:
    """Returns a setting as Python source, laid out as if written by hand."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if value is None or isinstance(value, bool | int) or _is_number(value):
        return repr(value)
    pad = " " * (indent + 4)
    if isinstance(value, dict) and all(isinstance(k, str) and k.isidentifier() for k in value):
        parts = [f"{k}={_python(v, f'{key}.{k}', indent + 4)}" for k, v in value.items()]
        before, after = "dict(", ")"
    elif isinstance(value, tuple | list):
        parts = [_python(v, f"{key}[{i}]", indent + 4) for i, v in enumerate(value)]
        before, after = "()" if isinstance(value, tuple) else "[]"
    else:
        raise UserError(
            f"{key}: expected a number, string, tuple, list or dict, which --write can write to a "
            f"config, received {value!r}"
        )
    line = ", ".join(parts)
    if isinstance(value, tuple) and len(parts) == 1:
        line += ","
    name = "" if key.endswith("]") else key.rpartition(".")[2]
    if "\n" not in line and indent + len(name) + len(line) + 8 <= 100:
        return f"{before}{line}{after}"
    lines = "".join(f"{pad}{part},\n" for part in parts)
    return f"{before}\n{lines}{' ' * indent}{after}"


def _is_number(value) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100, break_on_hyphens=False)
