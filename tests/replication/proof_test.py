"""Compares the table of proof with reports, old sections, configs and dry runs."""

import re
from collections import Counter
from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module
from lbkeras.replication import proof
from lbkeras.replication.markdown import as_markdown
from lbkeras.replication.report import build_report
from tests.configs import dry_runs

ROOT = Path(__file__).parents[2]
PROOF = (ROOT / "docs/proof.md").read_text(encoding="utf-8")
CONFIG = """
PAPER = dict(citation="Smith et al. 2018", title="Larger | batches", arxiv="1711.00489")

class get_config:
    variants = dict(digits="digits", mnist="mnist", cifar10="cifar10", recipe="imagenet2012")

    def __new__(cls, variant):
        return dict(data=dict(name=cls.variants[variant]))

def get_claims(variant):
    def claim(statement, arm, **more):
        of = dict(name=arm, statement=statement, arm=arm, baseline="original", test="worse")
        return of | more

    kept = claim("Increasing the batch keeps the accuracy.", "increase_batch")
    lost = [claim("It loses accuracy.", arm) for arm in ("twice", "naive")]
    of_paper = claim("On ImageNet too.", "large", paper=dict(arm=0.75, baseline=0.761))
    return dict(digits=[kept, *lost], recipe=[kept, of_paper]).get(variant, [kept, lost[0]])
"""


@pytest.fixture
def papers(tmp_path):
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('is no config')")
    (folder / "smith2018.py").write_text(CONFIG)
    return folder


def measured(full_workdir, **change):
    report = build_report(full_workdir)
    report |= {"config": ".../smith2018.py:digits", "variant": "digits"} | change
    return proof.of_report(as_markdown(report), "Smith et al. 2018: Larger batches (digits)")


def rows(text, heading="## "):
    found = re.findall(r"^\| (.*) \|$", text.partition(heading)[2], re.M)
    return [line.split(" | ") for line in found if "---" not in line and "claim | data" not in line]


def test_a_claim_is_measured_or_dry_run_or_neither(papers, full_workdir):
    text = proof.render_proof(papers, [measured(full_workdir)])
    claims = measured(full_workdir).rows
    assert rows(text) == [
        [claims[0].statement, "digits", "94.40 %; 94.30 %", claims[0].ours, claims[0].n]
        + [f"**{claims[0].verdict}**"],
        ["", "recipe", "–", "–", "–", "dry run only"],
        [claims[1].statement, "digits", "–", claims[1].ours, claims[1].n]
        + [f"**{claims[1].verdict}**"],
        ["It loses accuracy. (`twice`)", "digits, mnist, cifar10", "–", "–", "–", "not run"],
        ["It loses accuracy. (`naive`)", "digits", "–", "–", "–", "not run"],
        ["On ImageNet too.", "recipe", "75.00 %; 76.10 %", "–", "–", "dry run only"],
    ]
    number = Counter(row.verdict for row in claims)
    assert text.count("2 dry run only, 6 not run.**") == 1
    assert f"**10 claims of 1 configs: {number['supported']} supported, " in text
    assert "Run: [digits](../RESULTS.md#smith-et-al-2018-larger-batches-digits) (CPU)." in text
    assert "Dry run only: recipe. Not run: mnist, cifar10." in text
    link = "[Smith et al. 2018](#smith-et-al-2018-larger--batches)"
    assert rows(text, "# Table")[1][:2] == [link, "digits"]


def test_a_config_without_a_run(papers):
    text = proof.render_proof(papers, [])
    assert "**9 claims of 1 configs: 0 supported, 0 not supported, 0 inconclusive, 2 dry" in text
    assert "Run: [" not in text and rows(text)[0][1:] == ["recipe", "–", "–", "–", "dry run only"]


def test_two_results_of_one_variant_are_two_rows(papers, full_workdir):
    once = measured(full_workdir)
    gpu = {"machine": "x86_64", "accelerators": ["H200", "H200"], "runs": 1}
    again = measured(full_workdir, hardware=[gpu])
    assert (once.place, again.place) == ("CPU", "H200")
    report = as_markdown(build_report(full_workdir) | {"config": "smith2018:digits"})
    again = proof.of_report(report | {"variant": "digits"}, "A paper (digits, mirrored)")
    assert (again.config, again.rows[0].data) == ("smith2018", "digits, mirrored")
    text = proof.render_proof(papers, [once, again])
    assert [row[:2] for row in rows(text)[:2]] == [
        [once.rows[0].statement, "digits"],
        ["", "digits, mirrored"],
    ]


@pytest.mark.parametrize("change", [{"variant": ""}, {"config": None}, {"claims": []}])
def test_a_report_without_config_or_claims_has_no_row(full_workdir, change):
    assert measured(full_workdir, **change) is None


def test_a_section_whose_records_are_gone():
    text = Path(__file__).with_name("section_of_0_1_0.md").read_text(encoding="utf-8")
    found = proof.of_section(text, "Keskar et al. 2017: Sharp Minima (mnist)")
    assert (found.config, found.variant, found.place, found.gone) == (
        *("keskar2017", "mnist"),
        *("CPU", True),
    )
    assert found.rows[1] == proof.Row(
        "The large batch tests worse than the small one.",
        "mnist",
        "",
        "97.81 %; 98.03 %",
        "-0.09 points (-0.31 to +0.13)",
        "3 and 3",
        "inconclusive",
    )
    narrow = text.replace(" 97.81 %; 98.03 % |", "")
    assert proof.of_section(narrow, "Keskar (mnist)").rows[1].paper == "–"
    assert proof.of_section("## GPU\n\nother measurements", "GPU") is None


def test_each_verdict_of_the_results_is_in_the_table():
    results = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    verdicts = re.compile(r"\| \*\*([a-z ]+)\*\* \|")
    assert Counter(verdicts.findall(PROOF)) == Counter(verdicts.findall(results))
    stated = {row[0].partition(" (`")[0] for row in rows(PROOF)}
    cells = re.findall(r"^\| (.*?) \| \*\*(?:supported|not|inconclusive)", results, re.M)
    assert cells and all(any(cell.startswith(text) for text in stated if text) for cell in cells)


def claims_of(config, variant):
    return config_module(str(dry_runs.PAPERS / f"{config}.py")).get_claims(variant)


def test_dry_run_only_are_exactly_the_variants_of_the_dry_runs():
    parts = re.findall(
        r"config \[`(\w+)`\].*?(?: Dry run only: ([\w, ]+)\.)?(?: Not run:.*)?$", PROOF, re.M
    )
    listed = {f"{config}:{name}" for config, names in parts for name in names.split(", ") if name}
    tried = {named for named in dry_runs.VARIANTS if claims_of(*named.split(":"))}
    assert listed and listed == tried
