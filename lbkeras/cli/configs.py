"""`lbkeras configs`: lists the papers' configs with their costs and results."""

import functools
from pathlib import Path

from lbkeras import files
from lbkeras.cli import paper_configs
from lbkeras.cli.command_flags import CommandFlags
from lbkeras.cli.config_files import config_module, load_config
from lbkeras.errors import UserError, unknown_name
from lbkeras.planning import durations
from lbkeras.replication.formats import NONE, format_metric, format_number, format_paper
from lbkeras.runs import experiment
from lbkeras.terminal_text import wrapped

HELP = """lbkeras configs: lists the papers' configs with their costs and results

examples:
  lbkeras configs
  lbkeras configs smith2018

With a name, it shows that config's variants and its file. To change a config,
copy its file: --config takes a path as well as a name.
"""
_WIDTH = 80
_MOST_OF_DATA = 12  # characters


def define_flags(command: CommandFlags) -> None:
    command.word(paper_configs.files())


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    define_flags(command)
    command.parse()
    known = paper_configs.files()
    if command.given is None:
        print(format_overview({name: _variants(path) for name, path in known.items()}))
        return 0
    path = paper_configs.find(command.given)
    if path is None:
        raise UserError(unknown_name("configs", command.given, known))
    print(format_config(path, _variants(path)))
    return 0


def format_overview(configs: dict[str, list[dict]]) -> str:
    """Returns a table with a row per variant, under a line for each config.

    Args:
        configs: from each config's name to what `_variants` returns for it.
    """
    header = ["variant", "data", "runs", "epochs", "updates", "s/run", "ours", "paper"]
    rows = {name: [_row(each) for each in variants] for name, variants in configs.items()}
    everything = [header, *(row for each in rows.values() for row in each)]
    widths = [max(map(len, column)) for column in zip(*everything, strict=True)]
    lines = [_aligned(header, widths)]
    for name, variants in configs.items():
        lines += ["", _filled(f"{name}: {variants[0]['title']}")]
        lines += [_aligned(row, widths) for row in rows[name]]
    machines = {
        machine
        for variants in configs.values()
        for each in variants
        for machine in (each["measured"] or {}).get("hardware", ())
    }
    legend = (
        "runs: arms x seeds of `lbkeras replicate`. epochs, updates: of the longest arm. s/run: "
        f"measured training time, mean of all arms, on {' or '.join(sorted(machines))}. ours: "
        "measured test accuracy of the first arm, %. paper: the paper's accuracy of that arm, "
        f"mostly on other data with another network. {NONE}: not measured, or not in the paper."
    )
    more = "`lbkeras configs NAME` describes a config's variants and names the file to copy."
    return "\n".join([*lines, "", wrapped(legend, _WIDTH), more])


def format_config(path: Path, variants: list[dict]) -> str:
    """Returns a config's paper and file, and a paragraph for each variant."""
    paper = variants[0]["paper"]
    title = _filled(f"{path.stem}: {paper['title']}")
    blocks = [f"{title}\n{paper['citation']}, arXiv:{paper['arxiv']}\nfile: {path}"]
    for each in variants:
        lines = [_filled(f"{each['variant']}: {each['what']}")]
        said = [say(each) for say in (_cost, _measured, _reached, _decided)]
        lines += [_filled(text, "  ") for text in said if text]
        workdir = f"runs/{path.stem.split('_')[0]}_{each['variant']}"
        lines.append(
            f"  lbkeras replicate --config={path.stem}:{each['variant']} \\\n"
            f"      --workdir={workdir}"
        )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _filled(text: str, indent: str = "") -> str:
    return wrapped(f"{indent}{text}", _WIDTH, f"{indent}  ")


def _variants(path: Path) -> list[dict]:
    """Collects what is shown of each variant of a config."""
    module = config_module(str(path))
    described = _described(module.__doc__)
    measured = _all_measured().get(module.PAPER["arxiv"], {})
    variants = []
    for name in module.get_config.variants:
        config = load_config(f"{path}:{name}")
        plans = experiment.make_plans(config)
        first = next(iter(plans))
        tunes = config.data.test_split.startswith("train") or name.endswith("_tuning")
        variants.append(
            dict(
                variant=name,
                what=described[name],
                title=module.PAPER["title"],
                paper=module.PAPER,
                data=config.data.name,
                arms=len(plans),
                first=first,
                seeds=len(experiment.seeds(config)),
                epochs=[plan.epochs for plan in plans.values()],
                updates=[plan.updates() for plan in plans.values()],
                measured=measured.get(name),
                papers={} if tunes else module.PAPER["arms"].get(first, {}),
                tunes=tunes,
            )
        )
    return variants


def _described(header: str) -> dict[str, str]:
    """Returns the variants in a config's header, each with its description."""
    lines = header.partition("\nVariants ")[2].split("\n\n")[0].splitlines()[1:]
    return {name: text.strip() for name, _, text in (line.strip().partition(" ") for line in lines)}


@functools.cache
def _all_measured() -> dict:
    """Reads our results, which `python -m lbkeras.replication.results` puts beside the configs."""
    path = paper_configs.folder() / "measured.json"
    return files.read_json_object(path) if path.exists() else {}


def _row(each: dict) -> list[str]:
    measured, data = each["measured"], each["data"]
    seconds = measured and measured["seconds"] / measured["runs"]
    return [
        each["variant"],
        data if len(data) <= _MOST_OF_DATA else data[: _MOST_OF_DATA - 1] + "…",
        f"{each['arms']}x{each['seeds']}",
        f"{max(each['epochs']):,}",
        f"{max(each['updates']):,}",
        f"{seconds:,.{0 if seconds >= 10 else 1}f}" if measured else NONE,
        NONE
        if each["tunes"] or not measured
        else format_number(measured["mean"], measured["metric"]),
        format_paper(each["papers"], "accuracy"),
    ]


def _aligned(row: list[str], widths: list[int]) -> str:
    """Aligns the first two cells to the left and the numbers to the right."""
    cells = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
    cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return " " + "  ".join(cells)


def _cost(each: dict) -> str:
    return (
        f"{each['data']}, {_counted(each['arms'], 'arm')} x {_counted(each['seeds'], 'seed')}, "
        f"{_range(each['epochs'])} epochs, {_range(each['updates'])} updates per run"
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _range(values: list[int]) -> str:
    return " to ".join(dict.fromkeys(f"{value:,}" for value in (min(values), max(values))))


def _measured(each: dict) -> str:
    found = each["measured"]
    if found is None:
        return "time: not measured"
    per_run = durations.in_words(found["seconds"] / found["runs"])
    return (
        f"time: {per_run} of training per run (mean of {found['runs']} runs, "
        f"{durations.in_words(found['seconds'])} together; {found['date']}; "
        f"{' or '.join(found['hardware'])})"
    )


def _reached(each: dict) -> str:
    found, papers = each["measured"], each["papers"]
    if each["tunes"]:
        return "reaches: nothing to compare; it chooses settings on held-out data"
    text = "reaches: not measured"
    if found is not None:
        value = format_metric(found, found["metric"])
        text = f"reaches: {found['arm']} {found['metric']} {value} (n={found['n']})"
    if papers.get("accuracy") is None:
        return f"{text}; the paper gives no accuracy for {each['first']}"
    setting = papers.get("setting", each["paper"]["setting"])
    return f"{text}; in the paper {format_paper(papers, 'accuracy')} % ({setting})"


def _decided(each: dict) -> str:
    """Counts the variant's claims by verdict; empty if none was tested."""
    counted = (each["measured"] or {}).get("claims")
    return f"claims: {', '.join(f'{n} {word}' for word, n in counted.items())}" if counted else ""
