"""Describes a replication for its report: the paper's numbers, the claims, the plans."""

from lbkeras.cli.command_flags import command_line
from lbkeras.cli.config_files import config_of, config_path, config_variant
from lbkeras.cli.train import strategy_name
from lbkeras.config import complete
from lbkeras.errors import UserError
from lbkeras.replication.claims import Claim
from lbkeras.replication.default_claims import default_claims
from lbkeras.replication.reference import describe_reference
from lbkeras.runs import experiment

_OF_A_PAPER = ("citation", "title", "arxiv", "setting")


def describe_replication(flags, arguments, module, arms, seeds) -> dict:
    """Returns what the report needs besides the runs: title, paper if any, claims, plans."""
    config, named = flags.config, flags["config"].config_filename
    paper = getattr(module, "PAPER", {})
    metric, better = experiment.report_metric(config)
    plans = experiment.make_plans(config)
    return {
        "title": _title(flags, module, paper),
        "config": named,
        "variant": config_variant(named),
        "command": command_line(arguments),
        "paper": {name: paper[name] for name in _OF_A_PAPER if name in paper},
        "dataset": config.data.name,
        "metric": metric,
        "targets": experiment.report_targets(config),
        "seeds": seeds,
        "seeds_in_config": experiment.seeds(complete(config_of(module, named))),
        "arms": {
            arm: {
                "description": config.arms[arm].get("description", ""),
                "paper": paper.get("arms", {}).get(arm, {}),
            }
            for arm in arms
        },
        "claims": _claims(config, named, module)
        if hasattr(module, "get_claims")
        else default_claims(arms, metric, better),
        "plans": {arm: plan.to_dict() for arm, plan in plans.items()},
        **_reference(config, named, module, plans),
    }


def _title(flags, module, paper: dict) -> str:
    """Returns the paper's title, else the first line of the config's docstring, else its name."""
    named = flags["config"].config_filename
    variant, strategy = config_variant(named), strategy_name(flags)
    which = [variant or flags.config.data.name] if paper else [variant] if variant else []
    if strategy not in ("auto", "one"):  # not the same result as on one device
        which.append(strategy)
    if paper:
        title = f"{paper['citation']}: {paper['title']}"
    else:
        lines = (module.__doc__ or "").strip().splitlines() or [config_path(named).stem]
        title = lines[0].strip().removesuffix(".")
    return f"{title} ({', '.join(which)})" if which else title


def _reference(config, named: str, module, plans) -> dict:
    """Returns what the config's reference took, if the config has one for the variant."""
    variant = config_variant(named)
    if not hasattr(module, "get_reference"):
        return {}
    try:
        given = module.get_reference(variant) if variant else module.get_reference()
        if given is None:
            return {}
        return {"reference": describe_reference(given, experiment.directions(config), plans)}
    except UserError as error:
        raise UserError(f"--config={named}: get_reference: {error}") from None
    except Exception as error:  # the config's own code
        said = f"{type(error).__name__}: {error}"
        raise UserError(f"--config={named}: get_reference: {said}") from error


def _claims(config, named: str, module) -> list[dict]:
    """Returns a config's claims after checking that the arms measure their metrics."""
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
            where = f"claim {claim.name!r}: metric of {arm}"
            experiment.check_metric(where, claim.metric, experiment.arm_settings(config, arm))
    return claims
