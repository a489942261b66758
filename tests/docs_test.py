"""Everything that the developer guides name exists, and their lists are complete."""

import re
from pathlib import Path

import pytest
import yaml  # of ml_collections

import lbkeras

ROOT = Path(__file__).parents[1]
GUIDES = ("README.md", "BUILD.md", "CONTRIBUTING.md", "docs/architecture.md")
PAGES = (*GUIDES, "RESULTS.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
BUILD = (ROOT / "BUILD.md").read_text()
# A path in the repository, except those with a placeholder in capitals (NAME, AUTHORYEAR).
PATH = re.compile(
    r"(?<![\w/.-])(?:(?:lbkeras|tests|tools|configs|docs|results|\.ci|\.github)/[\w./-]*"
    r"|examples/\w+\.\w+)"
)
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b|/[A-Z]+[_/]|/A/")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([\w-]*))?\)")
# Features that Windows, and partly macOS, lacks or defines differently.
OF_THE_SYSTEM = re.compile(
    r"\bfcntl\b|\bos\.(fork|kill|sysconf|setpgid|getloadavg|getuid)\b|\bselect\.poll\b"
    r"|\bsignal\.(SIGHUP|SIGBUS|SIGKILL|pthread_sigmask)\b|\bimport resource\b|[\"'](/proc|/dev)/"
)
LINES = 400


def paths(text: str) -> list[str]:
    found = (path.rstrip("./-") for path in PATH.findall(text))
    return [path for path in found if not PLACEHOLDER.search(path)]


def section(text: str, title: str) -> str:
    """Returns the text under a heading, up to the next one of its level or above."""
    level, rest = re.search(rf"^(#+) {re.escape(title)}\n(.*)", text, re.M | re.S).groups()
    return re.split(rf"^#{{1,{len(level)}}} ", rest, flags=re.M)[0]


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", sorted({*PAGES}))
def test_every_path_is_there(page):
    named = paths((ROOT / page).read_text())
    assert len(named) > 5 or page not in GUIDES
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", sorted({*PAGES}))
def test_every_link_leads_somewhere(page):
    for target, anchor in LINK.findall((ROOT / page).read_text()):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


def test_paths_are_found():
    text = "`tests/a/b_test.py`, tools/x.sh, lbkeras/optimizers/NAME.py; ../shared/tests/c.py"
    assert paths(text) == ["tests/a/b_test.py", "tools/x.sh"]


WALKS = re.split(r"^## \d\. ", ARCHITECTURE, flags=re.M)[1:]
STOP = re.compile(r"^(\d)  (lbkeras/\S+\.py) {2,}(\w+(?:, \w+)*)", re.M)


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.split("\n")[0])
def test_a_walk_names_what_its_files_define(walk):
    stops = STOP.findall(walk)
    numbers = [number for number, _, _ in stops]
    assert numbers == list("12345")[: len(stops)] == re.findall(r"^(\d)\. ", walk, re.M)
    for _, path, names in stops:
        text = (ROOT / path).read_text()
        for name in names.split(", "):
            assert re.search(rf"^(class|def) {name}\b", text, re.M), f"{path}: {name}"


def test_there_are_six_walks_through_different_files():
    files = re.findall(r"lbkeras/\S+\.py", ARCHITECTURE)
    assert len(WALKS) == 6 and len(set(files)) == len(files)


def test_long_files_are_listed_with_the_reason():
    rows = re.findall(r"^\| `(\S+)` \| (.+) \|$", section(BUILD, "Files over 400 lines"), re.M)
    long = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "lbkeras").rglob("*.py")
        if len(path.read_text().splitlines()) > LINES
    }
    assert {path for path, _ in rows} == long


def test_system_specific_code_is_listed():
    rows = re.findall(r"^\| `(lbkeras/\S+)` ", section(BUILD, "Linux, macOS, Windows"), re.M)
    calls = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "lbkeras").rglob("*.py")
        if OF_THE_SYSTEM.search(path.read_text())
    }
    assert set(rows) == calls


def test_the_changelog_begins_with_the_version_and_dates_the_others():
    (version, date), *others = re.findall(
        r"^## \[(.+)\] - (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M
    )
    assert lbkeras.__version__ in (version, f"{version}.dev0")
    dated = [*others] if lbkeras.__version__ != version else [(version, date), *others]
    assert dated and all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for _, date in dated)
    assert (date == "unreleased") == (lbkeras.__version__ != version)


def test_the_version_is_in_one_place():
    for name in ("setup.py", "pyproject.toml", "CITATION.cff"):
        assert lbkeras.__version__ not in (ROOT / name).read_text(), name


def test_the_forge_runs_the_gate():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"] == {"python": ["3.11", "3.13"]}
    assert job["runs-on"] == "ubuntu-latest"
    *_, python, check = job["steps"]
    assert python["with"] == {"python-version": "${{ matrix.python }}"}
    gate = (ROOT / ".ci/run").read_text().split("exec ")[1].strip()
    assert check == {"run": gate, "env": {"PYTHON": "python"}}


def test_the_citation_has_what_the_format_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["message"]
    assert citation["authors"] == [{"name": "The lbkeras authors"}]
    assert f'license="{citation["license"]}"' in (ROOT / "setup.py").read_text()
