from lbkeras.advice.dry_run import DryRun
from lbkeras.advice.tables import format_dry_run


def test_the_legend_of_a_dry_run_fits_a_terminal_and_is_whole_in_a_pipe():
    result = DryRun("one device (CPU)", {}, [])
    whole, narrow = (format_dry_run(result, width).split("\n\n")[-1] for width in (None, 60))
    assert len(whole.splitlines()) == 3
    assert max(map(len, narrow.splitlines())) <= 60
    assert narrow.split() == whole.split()
