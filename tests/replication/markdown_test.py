import json

import pytest

from lbkeras.replication import build_report, format_table
from lbkeras.replication.markdown import render_report


@pytest.fixture
def workdir(make_workdir):
    """Two arms of three seeds."""
    return make_workdir({arm: ["finished"] * 3 for arm in ("small", "large")}, claims=[])


def test_records_with_the_letters_of_0_1_0_are_rendered_the_same(full_workdir):
    """0.1.0 recorded the tags of claims and papers' numbers as letters."""
    report = build_report(full_workdir)
    file = full_workdir / "replication.json"
    before = file.read_text().replace('"tag": "secondary"', '"tag": "T"')
    assert before.count('"tag": "T"') == 3 and '"tag": "secondary"' not in before
    file.write_text(before)
    assert render_report(build_report(full_workdir)) == render_report(report)
    assert "[T] from a secondary text" in render_report(report)


def test_what_callbacks_measured_is_in_the_report(workdir):
    for arm, values in (("small", (1.0, 3.0, None)), ("large", (10.0, 10.0, 40.0))):
        for seed, value in enumerate(values):
            path = workdir / arm / f"seed_{seed}" / "record.json"
            record = json.loads(path.read_text())
            record["final"] |= {"sharpness": value, "sharpness_5e-4": 0.5}
            path.write_text(json.dumps(record))
    report = build_report(workdir)
    assert report["arms"]["small"]["measured"]["sharpness"]["values"] == [1.0, 3.0]
    text = render_report(report)
    assert "| arm | ours: sharpness | ours: sharpness 5e-4 |" in text
    assert "| `small` | 2 ± 1.414 | 0.5 ± 0 |" in text
    assert "| `large` | 20 ± 17.32 | 0.5 ± 0 |" in text


def test_the_noise_scale_is_in_the_report_with_its_lower_bounds(workdir):
    for seed, (value, error) in enumerate(((30.0, 4.0), (50.0, 50.0), (70.0, 70.0))):
        path = workdir / "small" / f"seed_{seed}" / "record.json"
        record = json.loads(path.read_text())
        noise = {"gradient_noise_scale": value, "gradient_noise_scale_error": error}
        record["final"] |= noise | {"gradient_variance": 1.0}
        path.write_text(json.dumps(record))
    text = render_report(build_report(workdir))
    assert "| arm | ours: gradient noise scale |\n" in text
    assert "| `small` | 50 ± 20 (2 of 3 are lower bounds) |" in text
    assert "| `large` | – |" in text


def test_trainable_parameters_are_a_column_where_arms_differ(workdir):
    assert "trainable parameters" not in render_report(build_report(workdir))  # not known
    for numbers, shown in (
        (dict(small=610, large=610), False),
        (dict(small=1610, large=610), True),
    ):
        for path in workdir.glob("*/seed_*/record.json"):
            record = json.loads(path.read_text())
            record["trainable_parameters"] = numbers[path.parts[-3]]
            path.write_text(json.dumps(record))
        report = build_report(workdir)
        assert report["arms"]["small"]["trainable_parameters"]["values"] == [numbers["small"]] * 3
        text = render_report(report)
        assert ("| ours: trainable parameters |" in text) == shown
        assert ("| 1,610 |" in text) == shown


def test_without_measurements_there_is_no_table(workdir):
    assert "Measured at the end" not in render_report(build_report(workdir))


OWN_CLAIM = {
    "name": "keeps", "statement": "The own plan keeps the accuracy.", "test": "not_worse",
    "arm": "large", "baseline": "small", "margin": 0.01,
}  # fmt: skip


@pytest.mark.parametrize("paper", [None, {}])
def test_without_a_paper_the_report_mentions_none(make_workdir, paper):
    """For comparisons of `lbkeras.compare` and for configs without PAPER."""
    folder = make_workdir(
        {arm: ["finished"] * 3 for arm in ("small", "large")},
        claims=[OWN_CLAIM], paper=paper, title=None, config=None, variant=None, command=None,
        arms={"small": {}, "large": None}, dataset=None,
    )  # fmt: skip
    report = build_report(folder)
    text = render_report(report)
    for word in ("aper", "ours", "[T]"):
        assert word not in text, word
        assert word not in format_table(report), word
    assert (
        "| arm | n | test accuracy %, mean ± sd | min to max | updates | updates against " in text
    )
    assert "| The own plan keeps the accuracy. | **" in text
    assert "Verdicts: supported: the seeds show it; " in text


def test_fewer_and_more_are_worded_consistently(full_workdir):
    report = build_report(full_workdir)
    for key, ratio in (("updates_ratio", 2.5), ("seconds_ratio", 0.5)):
        report["arms"]["increase_batch"][key] = ratio
        report["arms"]["increase_learning_rate"][key] = 1.0
    text, table = render_report(report), format_table(report)
    assert "2.50x fewer updates than `original`, 2.00x more time than `original`" in text
    assert "as many updates as `original`, as much time as `original`" in text
    for printed in ("2.50x fewer", "2.00x more", "as many", "as much"):
        assert f"| {printed} |" in text and printed in table


def test_tags_and_verdicts_are_explained(full_workdir):
    text = render_report(build_report(full_workdir))
    assert "The paper's numbers: [T] from a secondary text, a reproduction or public code." in text
    assert (
        "The claims: [T] from a secondary text, a reproduction or public code. Verdicts: " in text
    )
