"""The config that `lbkeras plan --auto --write` writes."""

import pytest

from lbkeras.advice.advisor import Advice
from lbkeras.advice.config_file import write_config
from lbkeras.advice.plan import MeasuredEpoch
from lbkeras.advice.probe import Probe
from lbkeras.cli.config_files import load_config
from lbkeras.errors import UserError
from lbkeras.planning import Phase, Plan
from lbkeras.runs.experiment import arm_settings, make_plans

BASELINE = Plan([Phase(0, 8, 10, 0.1, 0.9)], 1000)
PLAN = Plan([Phase(0, 1, 10, 0.1, 0.9), Phase(1, 7, 20, 0.15, 0.9)], 1000)
MEASURED = [MeasuredEpoch(10, 25.0, 60.0, 100.0, 1.0, 0.5, 2.0)] * 2
PROBES = {size: Probe(size, size, 1, 0.02, 1.0, None) for size in (10, 20)}
ADVICE = Advice(BASELINE, PLAN, MEASURED, PROBES, [16.0], [2.0, 7.0])


def test_the_written_config_is_the_measured_one_with_the_plan(tmp_path, smith):
    config = load_config(f"{smith}:digits")
    config.plan.epochs, config.plan.boundaries, config.seeds = 8, (3, 5, 6), 7
    settings = arm_settings(config, "increase_batch")
    file = tmp_path / "recommended.py"
    write_config(file, config, "increase_batch", "x.py:digits", "lbkeras plan", ADVICE, "a\n\nb")
    config.data.num_examples = 1000  # the made-up plan's
    file.write_text(file.read_text().replace("num_examples=1437", "num_examples=1000"))
    again = load_config(str(file))
    assert again.seeds == 7 and list(again.arms) == ["recommended", "own"]
    assert make_plans(again)["recommended"] == PLAN
    assert arm_settings(again, "own") == settings | dict(data=config.data.to_dict())
    assert file.read_text().startswith(
        '"""The plan that `lbkeras plan --auto` recommends for x.py:digits, arm increase_batch.\n'
    )
    lines = [line for line in file.read_text().splitlines() if str(file) not in line]
    assert max(map(len, lines)) <= 100


def test_a_setting_that_cannot_be_written_as_python(tmp_path, smith):
    config = load_config(f"{smith}:digits")
    config.data.update(dict(decode={1, 2}))
    with pytest.raises(
        UserError, match=r"config.data.decode: expected a number.* received \{1, 2\}"
    ):
        write_config(tmp_path / "x.py", config, "original", "x.py", "lbkeras plan", ADVICE, "")
