"""Equal things have equal fingerprints, also in another process; different things do not."""

import functools
import subprocess
import sys

import numpy as np
import pytest

from lbkeras.data.imagenet import center_crop, random_resized_crop
from lbkeras.fingerprint import describe, digest, digest_of, digest_of_code


class Settings:
    def __init__(self, units):
        self.units = units
        self.model = object()

    def call(self, x):
        return x + 1


class OtherCode(Settings):
    def call(self, x):
        return x + 2


class Configured:
    def __init__(self, units):
        self.hidden = units

    def get_config(self):
        return {"name": f"configured_{id(self)}", "units": self.hidden}


WEIGHT = np.array([1.0])


def weighted(y, weight=None, *, scale=1.0):
    return scale * helper(y) * WEIGHT


def helper(y):
    return y


class Network:
    """A class with a container as attribute."""

    def __init__(self, scale):
        self.settings = {"scale": scale}


def holding(value):
    return lambda y: y * value


def loss_of(power):
    return lambda y, p: (y - p) ** power


def test_plain_values_stay():
    value = {"a": [1, 2.5, None, True, "b"], "c": (np.float32(0.5), np.int64(3))}
    assert describe(value) == {"a": [1, 2.5, None, True, "b"], "c": [0.5, 3]}


@pytest.mark.parametrize(
    "one, other",
    [
        (np.arange(3), np.arange(4)),
        (np.arange(3), np.arange(3.0)),
        (np.array([b"a", b"bc"], object), np.array([b"ab", b"c"], object)),
        (Settings(1), Settings(2)),
        (Configured(1), Configured(2)),
        (loss_of(2), loss_of(3)),
        (holding(np.ones(2)), holding(np.zeros(2))),
        (holding((1, 2)), holding((1, 3))),
        (holding(helper), holding(loss_of)),
        (functools.partial(helper, 1), functools.partial(helper, 2)),
        (Network(1), Network(2)),
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x: x.mean(), lambda x: x.sum()),
        (lambda x: [y + 1 for y in x], lambda x: [y + 2 for y in x]),
        (Settings(1).call, Settings(2).call),
        (Settings, OtherCode),
        (center_crop(8, 9), center_crop(8, 10)),  # a library's: its arguments count
        (random_resized_crop(8), random_resized_crop(8, area=(0.25, 1.0))),
        (float("nan"), None),
        ({"a", "b"}, {"a"}),
    ],
)
def test_different_things_are_described_differently(one, other):
    assert digest_of(one) != digest_of(other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Settings(3), lambda: Configured(3), lambda: loss_of(2), lambda: np.arange(5),
        lambda: {"b", "a", "c"}, lambda: Settings(1).call, lambda: center_crop(8, 9),
    ],
)  # fmt: skip
def test_equal_things_are_described_equally(make):
    assert describe(make()) == describe(make())


def test_what_a_function_uses_of_its_module_is_described(monkeypatch):
    before = digest_of(weighted)
    monkeypatch.setitem(globals(), "WEIGHT", np.array([50.0]))
    assert digest_of(weighted) != before
    monkeypatch.undo()
    assert digest_of(weighted) == before
    monkeypatch.setitem(globals(), "helper", lambda y: 2 * y)
    assert digest_of(weighted) != before
    monkeypatch.undo()
    monkeypatch.setitem(weighted.__kwdefaults__, "scale", 2.0)
    assert digest_of(weighted) != before


def test_code_of_a_class_is_that_of_its_methods():
    assert digest_of_code(Settings) != digest_of_code(OtherCode)
    assert digest_of_code(helper) == digest_of(helper)


def test_cycles_end():
    values = [1]
    values.append(values)
    assert describe(values) == [1, "above"]


def test_a_class_says_which_code_it_has():
    assert describe(Settings(1))["code"] != describe(OtherCode(1))["code"]


@pytest.mark.release
def test_another_process_finds_the_same():
    code = "from tests.fingerprint_test import ours; print(ours())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip
    assert outputs == {ours()}


def ours():
    def function(x):
        return x in {"a", "b", "c", "d"}

    return digest_of([function, Settings(2), {"x", "y", "z"}, loss_of(4)])


def test_a_digest_is_that_of_the_bytes():
    assert digest(b"ab") == digest(b"a", b"b") != digest(b"ba")
