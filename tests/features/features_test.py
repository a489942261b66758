"""Tries each cell of docs/features.md, which says whether a Keras feature works."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from tests.distribution.workers import run_workers

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "features_script.py"
COLUMNS = {
    "one device": ("one", 1, "whole", 1),
    "micro-batches": ("one", 1, "pieces", 1),
    "replicas": ("mirrored", 2, "whole", 1),
    "replicas and micro-batches": ("mirrored", 2, "pieces", 1),
    "workers": ("multi_worker", 1, "whole", 2),
}


def table() -> dict[str, dict[str, str]]:
    """Returns the page's table: feature -> column -> cell."""
    page, _, _ = (ROOT / "docs/features.md").read_text(encoding="utf-8").partition("\n## ")
    lines = page.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    head, _, *body = rows
    assert head == ["feature", *COLUMNS]
    return {name: dict(zip(COLUMNS, cells, strict=True)) for name, *cells in body}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Returns a function from a column to the outcomes of all features, each tried once."""
    done = {}

    def of(column):
        if column not in done:
            strategy, devices, way, workers = COLUMNS[column]
            folder = tmp_path_factory.mktemp(way)
            names = "|".join(table())
            arguments = strategy, str(devices), way, names
            results = run_workers(SCRIPT, folder, *arguments, num_workers=workers, seconds=1800)
            done[column] = [json.loads(str(result["outcomes"])) for result in results]
        return done[column]

    return of


def test_the_page_has_every_feature():
    listed = SCRIPT.read_text(encoding="utf-8").partition("\nFEATURES = {")[2].partition("\n}")[0]
    assert list(table()) == re.findall(r'^    "([^"]+)": ', listed, re.MULTILINE)


@pytest.mark.release
@pytest.mark.parametrize("column", COLUMNS)
def test_each_cell(outcomes, column):
    """Works: weights and logs as undivided on one device. Refused: one line, before any update."""
    wrong = []
    for feature, cells in table().items():
        expected = outcomes("one device")[0][feature]
        for found in outcomes(column):
            said = compared(found[feature], expected)
            if said != cells[column]:
                wrong.append(f"{feature}: {said}, not {cells[column]} {str(found[feature])[:300]}")
    assert not wrong, os.linesep.join(wrong)


def compared(found: dict, expected: dict) -> str:
    """Returns the outcome of a feature in the page's words."""
    if "refused" in found:
        one_line = re.match(r"[a-z_ ]+: expected |[a-z_]+: the plan", found["refused"])
        return (
            "refused" if one_line and "\n" not in found["refused"] and not found["updates"] else "?"
        )
    if "raised" in found:
        return "raised"
    tolerance = found["tolerance"]
    weights, right = np.array(found["weights"]), np.array(expected["weights"])
    if np.linalg.norm(weights - right) > tolerance * np.linalg.norm(right):
        return "other weights"
    for name, values in expected["logs"].items():
        if not np.allclose(found["logs"][name], values, rtol=tolerance):
            return "other logs"
    return "works"
