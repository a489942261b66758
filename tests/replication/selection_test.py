import subprocess
import sys

import pytest

from lbkeras.errors import UserError
from lbkeras.replication import render_selection, select_arms
from lbkeras.replication.selection import main


def report(**values):
    """A report of two seeds, from each arm's accuracies."""
    arms = {
        name: {
            "metric": {
                "n": len(v),
                "mean": sum(v) / len(v) if v else None,
                "standard_deviation": 0.01 if len(v) > 1 else None,
            },
            "seeds": {
                "finished": list(range(len(v))),
                "diverged": list(range(len(v), 2)),
                "unfinished": [],
                "not_run": [],
            },
        }
        for name, v in values.items()
    }
    return {"arms": arms, "seeds": [100, 101], "metric": "val_accuracy"}


TUNED = report(
    sgd_32_rate_0_2=[0.9, 0.9],
    sgd_32_rate_0_1=[0.9, 0.9],
    sgd_32_rate_0_05=[0.95, 0.8],
    lars_32_rate_10=[0.8, 0.8],
    lars_32_rate_20=[0.99],
)


def test_trials_are_selected_like_rates():
    tuned = report(
        lars_8_trial_0=[0.9, 0.9], lars_8_trial_2=[0.95, 0.95], lars_8_trial_10=[0.95, 0.95]
    )
    assert select_arms(tuned) == {"lars_8": "lars_8_trial_2"}
    text = render_selection(tuned)
    assert text.startswith("lars_8: 2; 0: 90.00") and "edge" not in text


def test_selects_the_best_mean_then_the_smaller_rate_among_arms_with_all_seeds():
    assert select_arms(TUNED) == {"sgd_32": "sgd_32_rate_0_1", "lars_32": "lars_32_rate_10"}


def test_means_that_differ_by_rounding_are_equal():
    tuned = report(a_rate_1=[0.98, 0.97], a_rate_2=[0.97 + 3e-8, 0.98], a_rate_3=[0.9, 0.9])
    assert select_arms(tuned) == {"a": "a_rate_1"}


def test_a_line_per_group_lists_all_rates_in_order_and_marks_an_edge():
    sgd, lars = render_selection(TUNED).splitlines()
    assert sgd == (
        "sgd_32: 0.1; 0.05: 87.50 ± 1.00 % (n=2), 0.1: 90.00 ± 1.00 % (n=2), "
        "0.2: 90.00 ± 1.00 % (n=2)"
    )
    assert lars == (
        "lars_32: 10 (at the edge of those tried); 10: 80.00 ± 1.00 % (n=2), "
        "20: 99.00 % (n=1, 1 diverged)"
    )


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (dict(sgd_32=[1, 1]),
         "arm 'sgd_32': expected a tuning's arm name, such as 'sgd_128_rate_0_1'"),
        (dict(a_rate_b=[1, 1]),
         "arm 'a_rate_b': expected a tuning's arm name, such as 'sgd_128_rate_0_1'"),
        (dict(a_rate_1=[1], a_rate_2=[]),
         "group a: expected an arm that finished all 2 seeds, received none"),
    ],
)  # fmt: skip
def test_message(arms, message):
    with pytest.raises(UserError) as error:
        select_arms(report(**arms))
    assert str(error.value) == message


def test_the_module_prints_or_says_in_one_line_why_not(full_workdir, capsys):
    assert main([str(full_workdir)]) == 2
    assert capsys.readouterr().err.startswith(
        "lbkeras: error: arm 'original': expected a tuning's arm name"
    )
    command = [sys.executable, "-W", "error", "-m", "lbkeras.replication.selection", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("lbkeras: error: ")


def test_the_lowest_mean_of_a_loss_is_the_best():
    losses = report(a_rate_1=[0.9, 0.9], a_rate_2=[0.2, 0.2], a_rate_3=[0.2, 0.2])
    assert select_arms(losses | {"metric": "val_loss"}) == {"a": "a_rate_2"}


def test_a_metric_of_unknown_direction_is_refused():
    with pytest.raises(UserError, match="^metric: expected .* knows, received 'perplexity'$"):
        select_arms(TUNED | {"metric": "perplexity"})
