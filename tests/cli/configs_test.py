"""`lbkeras configs`, and papers' configs by name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lbkeras.cli import configs, paper_configs
from lbkeras.cli.config_files import config_module, config_path, load_config

PAPERS = Path(__file__).resolve().parents[2] / "configs/papers"
NAMES = sorted(path.stem for path in PAPERS.glob("[!_]*.py"))


def test_every_config_of_the_repository_is_found_by_name():
    assert list(paper_configs.files()) == NAMES and "smith2018" in NAMES
    for name in NAMES:
        assert paper_configs.find(name) == paper_configs.find(f"{name}.py") == PAPERS / f"{name}.py"


def test_the_author_and_year_are_enough_and_name_one_config():
    assert paper_configs.find("hoffer2017") == PAPERS / "hoffer2017_ghost_batch.py"
    assert len({name.split("_")[0] for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("named", ["smith2018:mnist", "smith2018.py:mnist"])
def test_a_name_works_in_any_folder(named, tmp_path, monkeypatch, succeeds):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smith2018").mkdir()  # a workdir of that name, not a config
    by_path = f"{PAPERS / 'smith2018.py'}:mnist"
    assert succeeds("plan", f"--config={named}") == succeeds("plan", f"--config={by_path}")
    epochs = ["--config.plan.epochs=3", "--config.plan.boundaries=(1,2)"]
    assert "2-2" in succeeds("plan", f"--config={named}", *epochs)


def test_a_copied_file_is_taken_before_the_paper_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (PAPERS / "smith2018.py").read_text()
    Path("smith2018.py").write_text(text.replace("batch_size=4,", "batch_size=8,"))
    assert load_config("smith2018.py:digits").plan.batch_size == 8
    assert load_config("smith2018:digits").plan.batch_size == 4


def test_a_missing_config_lists_the_names(tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    assert fails("plan", "--config=smth2018:digits") == (
        f"--config: expected a Python file or one of {', '.join(NAMES)}, received 'smth2018', "
        "which does not exist (did you mean 'smith2018'?)"
    )
    assert fails("plan", "--config=configs/papers/smith2018.py") == (
        "--config: expected a Python file, received 'configs/papers/smith2018.py', "
        "which does not exist (did you mean 'smith2018'?)"
    )


def test_an_installed_config_does_not_put_lbkeras_itself_on_the_import_path(tmp_path, monkeypatch):
    package = tmp_path / "site-packages/lbkeras"
    shutil.copytree(PAPERS, package / "configs/papers")
    monkeypatch.setattr(paper_configs, "__file__", str(package / "cli/paper_configs.py"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = list(sys.path)
    assert config_path("smith2018:digits") == package / "configs/papers/smith2018.py"
    config_module("smith2018:digits")
    assert sys.path == before
    config_module(str(PAPERS / "smith2018.py"))
    assert str(PAPERS.parents[1]) in sys.path  # in a clone it is another folder


def test_the_list_has_every_variant_with_its_numbers(succeeds):
    text = succeeds("configs")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    for name in NAMES:
        begin = next(i for i, line in enumerate(lines) if line.startswith(f"{name}: "))
        section = "\n".join(lines[begin:]).split("\n\n")[0]
        for variant in config_module(str(PAPERS / f"{name}.py")).get_config.variants:
            assert f"\n {variant} " in section
    row = next(line for line in lines if line.startswith(" paper_cifar10 ") and "94.30" in line)
    assert row.split() == [*("paper_cifar10", "cifar10", "6x6", "200", "78,000", "–", "–", "94.30")]


def test_one_config_is_shown_with_its_file_and_what_was_measured(succeeds):
    text = succeeds("configs", "smith2018")
    assert f"\nfile: {PAPERS / 'smith2018.py'}\n" in text
    measured = configs._all_measured()["1711.00489"]["digits"]
    flat = " ".join(text.split())
    assert f"mean of {measured['runs']} runs" in flat and measured["hardware"][0] in flat
    assert f"original val_accuracy {100 * measured['mean']:.2f} ± " in flat
    assert "in the paper 94.30 % (Table 1: CIFAR-10, WRN-16-4" in flat
    assert f"claims: {measured['claims']['supported']} supported" in flat
    assert "400 to 14,360 updates per run" in flat and "not measured" in flat
    assert max(len(line) for line in text.splitlines() if not line.startswith("file:")) <= 80


def test_what_the_paper_reached_is_said_of_the_first_arm_and_its_setting(succeeds):
    shown = succeeds("configs", "smith2018").split("\n\n")
    said = {text.split(":")[0]: " ".join(text.split()) for text in shown}
    assert "in the paper 94.30 % (Table 1: CIFAR-10, WRN-16-4, 200 epochs)" in said["cifar10"]
    assert "in the paper 78.25 % (section 5.3: ImageNet, Inception-ResNet-V2," in said["imagenet"]
    assert "in the paper 76.10 % (section 5.4: ImageNet, ResNet-50," in said["imagenet_tpu"]
    assert "the paper gives no accuracy for momentum_0_9 " in said["imagenet_momentum"]
    for variant in ("digits_tuning", "characters_tuning"):
        assert "reaches: nothing to compare; it chooses settings" in said[variant]


def test_an_unknown_config(fails):
    assert fails("configs", "smith2019") == (
        f"configs: expected one of {', '.join(NAMES)}, received 'smith2019' "
        "(did you mean 'smith2018'?)"
    )


def test_the_list_loads_neither_keras_nor_tensorflow(tmp_path):
    program = (
        "import sys; from lbkeras.cli.main import main; assert main(['configs']) == 0; "
        "assert not {'keras', 'tensorflow', 'matplotlib'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
