"""`lbkeras replicate`: every arm of a config with several seeds, then the report."""

import time
from pathlib import Path

from lbkeras import experiment, files
from lbkeras.cli.command_flags import (
    CommandFlags,
    HelpShown,
    command_line,
    config_module,
    config_variant,
)
from lbkeras.cli.train import define_training_flags, make_run
from lbkeras.errors import UserError

HELP = """lbkeras replicate: trains every arm of a config with several seeds, then reports

examples:
  lbkeras replicate --config=configs/papers/smith2018.py:digits --workdir=runs/smith2018_digits
  lbkeras replicate --config=configs/papers/smith2018.py:mnist --workdir=runs/smith2018_mnist \\
      --data_dir=$HOME/tensorflow_datasets --seeds=3

Skips the runs that are finished and goes on with the one that was interrupted. A run that diverges
is reported as diverged and the others go on. Ends with report.md, report.json and plots/*.png.
"""


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    command.config()
    command.string("workdir", None, "The replication's folder.", required=True)
    command.integer("seeds", None, "Seeds an arm, 0 to N-1; the config's if not given.", least=1)
    define_training_flags(command)
    try:
        flags = command.parse()
    except HelpShown:
        return 0
    workdir = Path(flags.workdir)
    seeds = list(range(flags.seeds or flags.config.seeds))
    arms = experiment.arm_names(flags.config)
    description = _description(flags, arguments, arms, seeds)
    runs = [(seed, arm) for seed in seeds for arm in arms]  # every arm early, for an early report

    from lbkeras import workdir as folders
    from lbkeras.cli.report import report

    with folders.locked(workdir):
        files.write_json(workdir / "replication.json", description)
        _train_all(flags, arguments, runs, workdir)
        report(workdir)
    return 0


def _train_all(flags, arguments, runs, workdir: Path) -> None:
    from lbkeras import training
    from lbkeras.callbacks import Diverged

    estimate = _TimeLeft(len(runs))
    for number, (seed, arm) in enumerate(runs, start=1):
        title = f"[{number}/{len(runs)}] {arm} seed {seed}"
        folder = workdir / arm / f"seed_{seed}"
        run = make_run(flags, arguments, arm=arm, seed=seed, folder=folder, title=title)
        ended = training.has_ended(run)
        if ended:
            print(f"{title}: {ended} before", flush=True)
            estimate.skip()
            continue
        begin = time.monotonic()
        try:
            record = training.train(run)
        except Diverged as error:
            estimate.done(time.monotonic() - begin)
            print(f"{title}: diverged: {error}{estimate}", flush=True)
            continue
        estimate.done(time.monotonic() - begin)
        accuracy = 100 * record["final"]["val_accuracy"]
        print(
            f"{title}: {accuracy:.2f} % after {record['updates']:,} updates, "
            f"{record['seconds']:.1f} s{estimate}",
            flush=True,
        )


class _TimeLeft:
    """Estimates the time left from the mean of the runs that this process has made."""

    def __init__(self, runs: int):
        self._left = runs
        self._seconds = []

    def skip(self):
        self._left -= 1

    def done(self, seconds: float):
        self._left -= 1
        self._seconds.append(seconds)

    def __str__(self):
        if not self._left:
            return ""
        seconds = sum(self._seconds) / len(self._seconds) * self._left
        text = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
        return f" (about {text} left)"


def _description(flags, arguments, arms, seeds) -> dict:
    """What the report needs besides the runs: the paper's side, the claims, the plans."""
    named = flags["config"].config_filename
    module = config_module(named)
    if not hasattr(module, "get_claims") or not hasattr(module, "PAPER"):
        raise UserError(
            f"--config: expected a paper's config with PAPER and get_claims(variant), received "
            f"{named!r} without; `lbkeras train` runs any config"
        )
    variant = config_variant(named)
    paper = module.PAPER
    settings = {arm: experiment.arm_settings(flags.config, arm) for arm in arms}
    return {
        "title": f"{paper['citation']}: {paper['title']}",
        "config": named,
        "variant": variant,
        "command": command_line(arguments),
        "paper": {name: paper[name] for name in ("citation", "title", "arxiv")},
        "dataset": flags.config.data.name,
        "metric": "val_accuracy",
        "seeds": seeds,
        "arms": {
            arm: {
                "description": flags.config.arms[arm].get("description", ""),
                "paper": paper["arms"].get(arm, {}),
            }
            for arm in arms
        },
        "claims": module.get_claims(variant) if variant else module.get_claims(),
        "plans": {arm: experiment.make_plan(settings[arm]).to_dict() for arm in arms},
    }
