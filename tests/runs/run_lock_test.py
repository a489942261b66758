"""Who may write to a run's folder, and the settings to which it belongs."""

import json
import shutil
import subprocess
import sys

import pytest

from lbkeras.errors import UserError
from lbkeras.runs import run_lock

HOLDER = """
import sys, pathlib
from lbkeras.runs import run_lock
with run_lock.locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_created_and_released(tmp_path):
    for _ in range(2):
        with run_lock.locked(tmp_path / "a" / "b"):
            assert (tmp_path / "a" / "b").is_dir()


def test_a_live_process_that_holds_the_folder_is_named(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"in use by the live process {holder.pid}$"):
            with run_lock.locked(tmp_path):
                pass
        holder.kill()
        holder.wait()
    with run_lock.locked(tmp_path):  # a dead process holds no lock
        pass


def test_a_folder_is_held_as_long_as_its_process_lives(tmp_path):
    assert not run_lock.is_held(tmp_path)
    with run_lock.locked(tmp_path):
        assert run_lock.is_held(tmp_path)
    assert not run_lock.is_held(tmp_path)


def test_a_setting_under_its_name_of_0_1_0_is_the_same(tmp_path):
    written = {"arm": "a", "data": {"label_concentration": 0.1, "name": "digits"}}
    (tmp_path / "config.json").write_text(json.dumps(written))
    data = {"name": "digits", "dirichlet_alpha": 0.1}
    assert run_lock.check_claim(tmp_path, "config.json", {"arm": "a", "data": data})
    with pytest.raises(UserError, match=r"\(data.dirichlet_alpha=0.1\), received data.*=1.0;"):
        run_lock.check_claim(
            tmp_path, "config.json", {"arm": "a", "data": data | {"dirichlet_alpha": 1.0}}
        )


def test_what_killed_writers_left_is_removed(tmp_path):
    left = [tmp_path / ".a.999999999.tmp", tmp_path / "checkpoints" / ".b.npz.999999999.tmp"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    with run_lock.locked(tmp_path):
        assert not any(path.exists() for path in left)


def test_a_folder_that_was_removed_or_replaced_is_no_longer_held(tmp_path):
    with run_lock.locked(tmp_path / "run") as check_held:
        check_held()
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(UserError, match="run: expected the folder that the run began in"):
            check_held()
        with run_lock.locked(tmp_path / "run") as check_other:
            check_other()
            with pytest.raises(UserError, match="removed or replaced"):
                check_held()


def test_a_path_below_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="expected a folder that can be written, received: Not a"):
        with run_lock.locked(tmp_path / "file" / "run"):
            pass


def test_claim_writes_settings_and_notes_once(tmp_path):
    run_lock.claim(tmp_path, "config.json", {"plan": {"epochs": 3}}, {"config": "a.py"})
    run_lock.claim(tmp_path, "config.json", {"plan": {"epochs": 3}}, {"config": "./a.py"})
    written = json.loads((tmp_path / "config.json").read_text())
    assert written == {"config": "a.py", "plan": {"epochs": 3}}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"arm": "a", "plan": {"epochs": 4, "boundaries": (1, 2)}}, "(plan.epochs=3), received "
         "plan.epochs=4"),
        ({"arm": "a", "plan": {"epochs": 3, "boundaries": (1, 3)}}, "(plan.boundaries=[1, 2]), "
         "received plan.boundaries=[1, 3]"),
        ({"arm": "b", "plan": {"epochs": 4, "boundaries": ()}}, "(arm='a'), received arm='b'"),
        ({"arm": "a", "plan": {"epochs": 3, "boundaries": (1, 2), "factor": 5.0}},
         "(plan.factor=None), received plan.factor=5.0"),
    ],
)  # fmt: skip
def test_the_first_setting_that_differs_is_named(settings, expected, tmp_path):
    before = {"arm": "a", "plan": {"epochs": 3, "boundaries": (1, 2)}}
    assert not run_lock.check_claim(tmp_path, "config.json", before)
    run_lock.claim(tmp_path, "config.json", before, {})
    assert run_lock.check_claim(tmp_path, "config.json", before)
    with pytest.raises(UserError) as raised:
        run_lock.check_claim(tmp_path, "config.json", settings)
    assert expected in str(raised.value)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"), [("{", "malformed"), ("[1]", "expected a JSON object, received list")]
)
def test_a_malformed_file_is_named(text, expected, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=rf"config\.json.*: .*{expected}"):
        run_lock.check_claim(tmp_path, "config.json", {"arm": "a"})
