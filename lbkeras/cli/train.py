"""`lbkeras train`: trains one arm with one seed in one run folder."""

import os
from pathlib import Path

from lbkeras.cli.command_flags import CommandFlags, command_line
from lbkeras.cli.config_files import config_module
from lbkeras.cli.workers import define_device_flags, workers_met
from lbkeras.errors import UserError
from lbkeras.runs import experiment
from lbkeras.runs.config_checks import MOST_SEED
from lbkeras.terminal_text import terminal_width, wrapped

HELP = """lbkeras train: trains one arm of a config in a run folder, or resumes its run

examples:
  lbkeras train --config=smith2018:digits --workdir=runs/first
  lbkeras train --config=smith2018:digits --workdir=runs/grown \\
      --arm=increase_batch
  lbkeras train --config=smith2018:cifar10 --workdir=runs/cifar \\
      --data_dir=$HOME/tensorflow_datasets --config.plan.epochs=30

two replicas on a laptop, each half of a batch in micro-batches of at most 32:
  lbkeras train --config=smith2018:digits --workdir=runs/two \\
      --arm=large_batch_naive --strategy=mirrored --num_logical_devices=2 \\
      --micro_batch_size=32

two machines, one --workdir; the commands differ only in --worker_index:
  lbkeras train --config=smith2018:digits --workdir=/shared/runs/two \\
      --strategy=multi_worker --workers=10.0.0.1:2222,10.0.0.2:2222 \\
      --worker_index=0

before a long run, try each batch size of each arm briefly at its real shapes;
this shows memory, examples/s, hours, files and what this machine lacks, and
keeps nothing:
  lbkeras train --config=smith2018:digits --dry_run
  lbkeras train --config=goyal2017:imagenet --dry_run --data_dir=/data/tfds \\
      --arm=gradual_warmup --micro_batch_size=64
the same without the data set, on random images of its shape:
  lbkeras train --config=goyal2017:imagenet --dry_run --fake_data

Run the same command again to resume after Ctrl-C, a kill or a crash.
Watch it with
  tensorboard --logdir=runs/first/tensorboard
"""


def define_flags(command: CommandFlags) -> None:
    command.config()
    command.folder("workdir", "The run's folder.", unless="dry_run")
    command.string("arm", None, "Arm of the config; if not given, the first, in a dry run all.")
    define_training_flags(command)
    help_text, most = "Seed of initialization, order and augmentation.", MOST_SEED
    command.integer("seed", 0, help_text, least=0, most=most)
    command.boolean("dry_run", "Try every batch size of every arm briefly, without training.")
    command.boolean("fake_data", "Dry run on random data of the data set's shape.")
    command.choice("format", "table", ["table", "json"], "Output format of a dry run.")


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    define_flags(command)
    flags = command.parse()
    experiment.report_targets(flags.config)  # raises now, not in the report after weeks
    if flags.dry_run:
        from lbkeras.cli.dry_run import dry_run

        return dry_run(flags)
    for name, value in (("fake_data", flags.fake_data), ("format", flags.format != "table")):
        if value:
            raise UserError(f"--{name}: expected only together with --dry_run, received without it")
    run = make_run(
        flags,
        arguments,
        config_module(flags["config"].config_filename),
        arm=experiment.arm_names(flags.config)[0] if flags.arm is None else flags.arm,
        seed=flags.seed,
        folder=Path(flags.workdir),
    )
    if (run.folder / "replication.json").exists():
        raise UserError(
            f"workdir {run.folder}: expected the folder of one run, received a replication's; "
            "use another --workdir"
        )
    from lbkeras.runs import training
    from lbkeras.runs.several import outcome

    with workers_met(flags, compared_settings(run)) as workers:
        chief = workers is None or workers.is_chief
        if chief and training.has_ended(run) == "finished":
            print(f"{run.folder}: this run is finished; nothing is left to train")
        training.train(run, workers)
    if chief:
        line = f"{run.arm}, seed {run.seed}: {outcome(run)}; everything is in {run.folder}"
        print(wrapped(line, terminal_width(), "  "))
    return 0


def compared_settings(run) -> dict:
    """Returns the settings on which the commands of all workers must agree."""
    from lbkeras.runs.run_spec import run_settings
    from lbkeras.runs.train_section import TRAIN

    names = ("checkpoint_minutes", "micro_batch_size")
    own = {name: getattr(run, name) for name in names} | {TRAIN: run.task.settings.get(TRAIN)}
    return run_settings(run) | own


def strategy_name(flags) -> str:
    """Returns the strategy of the flags; --workers and --num_logical_devices decide for auto."""
    if flags.workers:
        return "multi_worker"
    split = flags.num_logical_devices > 1 and not os.environ.get("TF_CONFIG")
    return "mirrored" if flags.strategy == "auto" and split else flags.strategy


def define_training_flags(command: CommandFlags) -> None:
    """Defines the flags that `train` and `replicate` share."""
    command.path("data_dir", "Folder of prepared TensorFlow Datasets data.")
    define_device_flags(command)
    command.integer(
        "micro_batch_size",
        0,
        "Examples that a replica computes at once; 0: its whole share of a batch, halved when "
        "memory runs out.",
        least=0,
    )


def make_run(flags, arguments: list[str], module, *, arm: str, seed: int, folder: Path, **more):
    """Makes the run of one arm and seed from the flags of `train` or `replicate`.

    `module` is the config's; `more` are further arguments of `RunSpec`.
    """
    from lbkeras.runs.config_task import ConfigTask
    from lbkeras.runs.run_spec import RunSpec

    paper = getattr(module, "PAPER", {})
    return RunSpec(
        task=ConfigTask(experiment.arm_settings(flags.config, arm), flags.data_dir),
        arm=arm,
        seed=seed,
        folder=folder,
        config=flags["config"].config_filename,
        command=command_line(arguments),
        references=(f"{paper['citation']}, arXiv:{paper['arxiv']}",) if paper else (),
        strategy=strategy_name(flags),
        micro_batch_size=flags.micro_batch_size,
        checkpoint_minutes=flags.config.checkpoint_minutes,
        metric=experiment.report_metric(flags.config)[0],
        **more,
    )
