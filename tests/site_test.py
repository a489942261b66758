"""The documentation site builds without a warning and has every public name."""

import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import lbkeras

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.mark.release  # the gate: public_names_test.py
def test_every_public_name_is_described(site):
    names = set()
    for each in lbkeras.__all__:
        value = getattr(lbkeras, each)
        names.add(f"lbkeras.{each}")
        names.update(f"lbkeras.{each}.{name}" for name in getattr(value, "__all__", ()))
    places = inventory(site)
    assert names - places.keys() == set()
    for name in names:
        page, _, anchor = places[name].partition("#")
        text = (site / page).read_text(encoding="utf-8")
        assert f'id="{anchor}"' in text, name


def test_examples_in_docstrings_are_code(site):
    pages = "".join(path.read_text(encoding="utf-8") for path in site.glob("api/*.html"))
    assert pages.count('<span class="gp">&gt;&gt;&gt; </span>') > 100
    assert "&gt;&gt;&gt;" not in re.sub(r"<code>.*?</code>", "", pages, flags=re.DOTALL)
    assert "<blockquote>" not in pages


def test_nothing_is_fetched_from_elsewhere(site):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r'(?:src|<link[^>]* href)="(?:https?:)?//[^"]*', text) == [], path


def inventory(site: Path) -> dict[str, str]:
    """Returns each object's place, from the inventory that other projects use to link here."""
    *_, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    rows = zlib.decompress(packed).decode().splitlines()
    found = re.compile(r"(\S+) py:\S+ \S+ (\S+) ")
    return {m[1]: m[2].replace("$", m[1]) for m in map(found.match, rows)}
