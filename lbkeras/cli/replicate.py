"""`lbkeras replicate`: trains every arm of a config with several seeds, then reports."""

from pathlib import Path

from lbkeras.cli.command_flags import CommandFlags
from lbkeras.cli.config_files import config_module
from lbkeras.cli.replication_description import describe_replication
from lbkeras.cli.signals import raise_if_received
from lbkeras.cli.train import (
    compared_settings,
    define_training_flags,
    make_run,
    strategy_name,
)
from lbkeras.cli.workers import workers_met
from lbkeras.errors import UserError
from lbkeras.replication import linear_interpolation
from lbkeras.replication.replication_folder import (
    check_no_run,
    read_replication,
    write_replication,
)
from lbkeras.runs import experiment
from lbkeras.runs.several import SECONDS_BETWEEN_LINES, check_folders, train_all, train_one

HELP = """lbkeras replicate: trains every arm of a config with several seeds, then reports

examples:
  lbkeras replicate --config=smith2018:digits --workdir=runs/smith2018_digits
  lbkeras replicate --config=smith2018:mnist --workdir=runs/smith2018_mnist \\
      --data_dir=$HOME/tensorflow_datasets --seeds=3

two replicas on a laptop:
  lbkeras replicate --config=smith2018:digits --workdir=runs/smith2018_two \\
      --strategy=mirrored --num_logical_devices=2

two machines, one --workdir; the commands differ only in --worker_index:
  lbkeras replicate --config=smith2018:digits --workdir=/shared/runs/smith2018 \\
      --strategy=multi_worker --workers=10.0.0.1:2222,10.0.0.2:2222 \\
      --worker_index=0

your own model and data (`lbkeras init` writes such a config); the report tests
whether every further arm keeps the first arm's accuracy to within a point, or,
for a loss or an error, whether the first arm's is at least 0.95 times the
other's:
  lbkeras replicate --config=own_model.py --workdir=runs/own_model

Finished runs are skipped and an interrupted one is resumed. A run that diverges
is reported as diverged and the others continue. At the end it writes report.md,
report.json and plots/*.png.
"""


def define_flags(command: CommandFlags) -> None:
    command.config()
    command.folder("workdir", "The replication's folder.")
    command.integer(
        "seeds",
        None,
        "Seeds per arm; the config's number if not given. The report says if the numbers differ.",
        least=1,
    )
    define_training_flags(command)


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    define_flags(command)
    flags = command.parse()
    workdir = Path(flags.workdir)
    seeds = experiment.seeds(flags.config, flags.seeds)
    arms = experiment.arm_names(flags.config)
    linear_interpolation.check_line(flags.config)
    check_no_run(workdir, "--workdir")
    module = config_module(flags["config"].config_filename)
    description = describe_replication(flags, arguments, module, arms, seeds)
    runs = [(seed, arm) for seed in seeds for arm in arms]  # so an early report has all arms

    for line in command.notes:
        print(line, flush=True)
    prepared = _prepared(flags, arguments, module, runs, workdir)
    with workers_met(flags, _compared(prepared)) as workers:
        if workers is None or workers.is_chief:
            _replicate(flags, description, prepared, workdir, workers)
        else:
            _assist(flags, prepared, workers)
    return 0


def _replicate(flags, description: dict, runs, workdir: Path, workers) -> None:
    from lbkeras.cli.report import report
    from lbkeras.runs import run_lock

    with run_lock.locked(workdir):
        _check_arms(workdir, list(description["arms"]))
        print(f"strategy: {_start(flags)}", flush=True)
        if description["claims"] and len(description["seeds"]) < 2:
            line = "claims: one seed cannot decide any; a spread needs at least two seeds"
            print(line, flush=True)
        description["dataset_description"] = _describe_data(flags)
        ended = check_folders(runs)
        write_replication(workdir, description)
        train_all(runs, ended, workers, before_each=raise_if_received)
        linear_interpolation.write_lines(
            flags.config, description["seeds"], workdir, flags.data_dir
        )
        report(workdir)


def _assist(flags, runs, workers) -> None:
    """Trains the runs that the chief names, in a worker that is not the chief."""
    _start(flags)
    _describe_data(flags)
    for run, status in zip(runs, workers.share(), strict=True):
        if not status:
            raise_if_received()
            train_one(run, workers)


def _start(flags) -> str:
    """Starts the strategy and describes it; fails before any run if a plan does not fit it."""
    from lbkeras.distribution.strategy import describe
    from lbkeras.distribution.strategy import strategy as make_strategy
    from lbkeras.runs.training import check_batch_sizes

    strategy = make_strategy(strategy_name(flags))
    for arm, plan in experiment.make_plans(flags.config).items():
        try:
            check_batch_sizes(plan, strategy.num_replicas_in_sync, flags.micro_batch_size)
        except UserError as error:
            raise UserError(f"arm {arm}: {error}") from None
    return describe(strategy)


def _describe_data(flags) -> str:
    """Says where the data comes from; fails before any run if it is not on disk."""
    from lbkeras.runs.own_data import describe_data

    return describe_data(experiment.arm_settings(flags.config), flags.data_dir)


def _check_arms(workdir: Path, arms: list[str]) -> None:
    """Refuses a folder with other arms, as the report would mix both."""
    before = read_replication(workdir).get("arms")
    if before is not None and set(before) != set(arms):
        raise UserError(
            f"workdir {workdir}: expected the arms it was started with ({', '.join(before)}), "
            f"received {', '.join(arms)}; use another --workdir"
        )


def _prepared(flags, arguments, module, runs, workdir: Path) -> list:
    return [
        make_run(
            flags,
            arguments,
            module,
            arm=arm,
            seed=seed,
            folder=workdir / arm / f"seed_{seed}",
            title=f"[{number}/{len(runs)}] {arm} seed {seed}",
            seconds_between_lines=SECONDS_BETWEEN_LINES,
        )
        for number, (seed, arm) in enumerate(runs, start=1)
    ]


def _compared(runs) -> dict:
    """Returns the settings on which the commands of all workers must agree."""
    return {f"{run.arm}.seed_{run.seed}": compared_settings(run) for run in runs}
