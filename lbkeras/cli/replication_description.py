"""What a replication's report needs besides its runs: the paper's side, the claims, the plans."""

from lbkeras import metrics
from lbkeras.cli.command_flags import command_line
from lbkeras.cli.config_files import config_of, config_variant
from lbkeras.cli.train import strategy_name
from lbkeras.errors import UserError, unknown_name
from lbkeras.replication.claims import Claim
from lbkeras.runs import experiment


def describe_replication(flags, arguments, module, arms, seeds) -> dict:
    """What the report needs besides the runs: the paper's side, the claims, the plans."""
    named = flags["config"].config_filename
    if not hasattr(module, "get_claims") or not hasattr(module, "PAPER"):
        raise UserError(
            f"--config: expected a paper's config with PAPER and get_claims(variant), received "
            f"{named!r} without; `lbkeras train` runs any config"
        )
    variant = config_variant(named)
    paper = module.PAPER
    what = variant or flags.config.data.name
    strategy = strategy_name(flags)
    if strategy not in ("auto", "one"):  # a result of its own, beside that of one device
        what += f", {strategy}"
    return {
        "title": f"{paper['citation']}: {paper['title']} ({what})",
        "config": named,
        "variant": variant,
        "command": command_line(arguments),
        "paper": {name: paper[name] for name in ("citation", "title", "arxiv", "setting")},
        "dataset": flags.config.data.name,
        "metric": "val_accuracy",
        "seeds": seeds,
        "seeds_in_config": experiment.seeds(config_of(module, named)),
        "arms": {
            arm: {
                "description": flags.config.arms[arm].get("description", ""),
                "paper": paper["arms"].get(arm, {}),
            }
            for arm in arms
        },
        "claims": _claims(flags.config, named, module),
        "plans": {arm: plan.to_dict() for arm, plan in experiment.make_plans(flags.config).items()},
    }


def _claims(config, named: str, module) -> list[dict]:
    """The claims of a config, each checked against what its arms will measure."""
    variant = config_variant(named)
    try:
        claims = module.get_claims(variant) if variant else module.get_claims()
    except Exception as error:  # the config's own code
        raise UserError(f"--config={named}: get_claims: {type(error).__name__}: {error}") from error
    if not isinstance(claims, list):
        raise UserError(f"--config={named}: get_claims: expected a list, received {claims!r}")
    for data in claims:
        claim = Claim.from_dict(data, experiment.arm_names(config))
        for arm in (claim.arm, claim.baseline):
            measured = metrics.measured(experiment.arm_settings(config, arm))
            if claim.metric not in measured:
                where = f"claim {claim.name!r}: metric of {arm}"
                raise UserError(unknown_name(where, claim.metric, measured))
    return claims
