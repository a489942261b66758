"""Runs tests/keras_versions and tests/keras_internals on several versions of Keras.

    python tools/check_keras_versions.py [VERSION ...]

A version is a number, "installed", or "nightly" for the newest pre-release. The default is the
lowest version that setup.py allows, the installed one and the nightly. Versions other than the
installed one are kept in .keras-versions/, without another TensorFlow. Prints one line for each
scenario, version and backend, with the reason if it fails. The exit status is 1 if a scenario fails
on a released version. Scenarios may fail on a pre-release; known failures are listed in
FAILS_ON_PRE_RELEASE.
"""

import concurrent.futures
import dataclasses
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".keras-versions"
BACKENDS = ("tensorflow", "jax")
MINUTES = 40  # time limit for one version on one backend
# Scenario as printed -> why it fails on the newest pre-release.
FAILS_ON_PRE_RELEASE = {}


@dataclasses.dataclass(frozen=True)
class Version:
    """A version of Keras to check; `path` is its folder, or None for the installed one."""

    number: str
    path: Path | None

    @property
    def is_pre_release(self) -> bool:
        return not re.fullmatch(r"[\d.]+", self.number)


@dataclasses.dataclass(frozen=True)
class Outcome:
    scenario: str
    seconds: float
    failure: str | None


def main(names) -> int:
    versions = dict.fromkeys(filter(None, map(fetched, names or default_names())))
    jobs = [(version, backend) for version in versions for backend in BACKENDS]
    held, found = dict.fromkeys(versions, 0), dict.fromkeys(versions, 0)
    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        results = [pool.submit(outcomes_of, *job) for job in jobs]
        for (version, backend), result in zip(jobs, results, strict=True):
            for outcome in result.result():
                print(line(version, backend, outcome), flush=True)
                held[version] += not outcome.failure
                found[version] += 1
    counts = (f"{held[each]} of {found[each]} with {each.number}" for each in versions)
    print(f"scenarios that hold on {' and '.join(BACKENDS)}: {', '.join(counts)}")
    return int(any(held[each] < found[each] for each in versions if not each.is_pre_release))


def default_names() -> list[str]:
    return [lowest(), "installed", "nightly"]


def lowest() -> str:
    """Returns the lowest version of Keras that setup.py allows."""
    return re.search(r'"keras>=([\d.]+)"', (ROOT / "setup.py").read_text())[1]


def fetched(name: str) -> Version | None:
    """Returns a version of Keras, fetched if needed; prints a line and returns None if it fails."""
    installed = installed_number()
    if name in ("installed", installed):
        return Version(installed, None)
    number = newest_nightly() if name == "nightly" else name
    package = "keras-nightly" if name == "nightly" else "keras"
    path = FOLDER / str(number)
    if number and not (path / "complete").exists():
        print(f"fetching {package} {number} into {path.relative_to(ROOT)} ...", flush=True)
        where = "--quiet", "--upgrade", "--no-deps", f"--target={path}"
        if pip("install", *where, f"{package}=={number}").returncode:
            number = None
        else:
            (path / "complete").touch()
    if number is None and name == "nightly":
        print("nightly: not checked, as there is none here and none could be fetched", flush=True)
        return None
    if number is None:
        sys.exit(f"keras {name}: expected pip to fetch it, received the error above")
    return Version(number, path)


def installed_number() -> str:
    try:
        return importlib.metadata.version("keras")
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version("keras-nightly")


def newest_nightly() -> str | None:
    """Returns the number of the newest pre-release; without a network, of the newest one here."""
    answer = pip("index", "versions", "--pre", "keras-nightly", capture_output=True, text=True)
    if answer.returncode == 0:
        return re.search(r"keras-nightly \((.*?)\)", answer.stdout)[1]
    return max((path.parent.name for path in FOLDER.glob("*dev*/complete")), default=None)


def pip(*arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, **options)


def outcomes_of(version: Version, backend: str) -> list[Outcome]:
    """Runs pytest in its own process and returns the outcomes."""
    paths = [ROOT] if version.path is None else [version.path, ROOT]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"} | os.environ
    environment |= {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "KERAS_BACKEND": backend,
        "JAX_PLATFORMS": "cpu",
        "LBKERAS_CHECKED_KERAS": version.number,
    }
    tests = sorted(map(str, (ROOT / "tests" / "keras_versions").glob("check_*.py")))
    if backend == "tensorflow":
        tests.append(str(ROOT / "tests" / "keras_internals"))
    else:
        environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += [f"--junitxml={report}", *tests]
        options = dict(cwd=ROOT, env=environment, capture_output=True, text=True)
        try:
            process = subprocess.run(command, timeout=60 * MINUTES, **options)
        except subprocess.TimeoutExpired:
            return [Outcome("all", 60.0 * MINUTES, f"not finished after {MINUTES} minutes")]
        if not report.exists():
            return [Outcome("all", 0.0, last_line(process.stdout + process.stderr))]
        return list(read(report))


def read(report: Path):
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            continue
        problem = case.find("failure")
        problem = case.find("error") if problem is None else problem
        module = case.get("classname").split(".")[-1].removeprefix("check_").removesuffix("_test")
        scenario = f"{module}: {case.get('name').removeprefix('test_')}".replace("_", " ")
        failure = None
        if problem is not None:
            failure = shortened(problem.get("message") or "") or "failed"
        yield Outcome(scenario, float(case.get("time")), failure)


def shortened(message: str) -> str:
    """Returns a failure message as one line, without TensorFlow's start-up messages."""
    lines = [
        each for each in message.splitlines() if not re.search(r"WARNING: All log|\.cc:", each)
    ]
    return " ".join(" ".join(lines).split())[:300]


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["pytest printed nothing"])[-1]


def line(version: Version, backend: str, outcome: Outcome) -> str:
    known = FAILS_ON_PRE_RELEASE.get(outcome.scenario) if version.is_pre_release else None
    if outcome.failure and known:
        result = f"fails, as known: {known}"
    elif outcome.failure:
        result = f"FAILS: {outcome.failure}"
    elif known:
        result = "holds, but is listed in FAILS_ON_PRE_RELEASE"
    else:
        result = f"holds ({outcome.seconds:.0f} s)"
    return f"{version.number:22} {backend:10} {outcome.scenario:70} {result}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
