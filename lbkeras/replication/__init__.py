"""From run records to verdicts: what a replication measured, rendered without TensorFlow.

Names load when first touched; neither SciPy nor matplotlib is imported before a verdict or a plot
needs it.
"""

import importlib

_HOMES = {
    "run_record": (
        "RunFolder",
        "append_history_row",
        "read_history",
        "read_record",
        "read_run",
        "truncate_history",
        "write_record",
    ),
    "claims": ("Claim",),
    "verdicts": ("Evidence", "judge", "verdict"),
    "report": ("build_report", "format_table", "write_report"),
    "plots": ("write_plots",),
    "keep": ("keep_results",),
    "results": ("render_results",),
    "selection": ("render_selection", "select_arms"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str):
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
