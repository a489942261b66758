"""What a run trains where an arm of a config says it; of a Python function, `python_task.py`.

A task has `settings` (what a run's folder and every worker's command must agree on, sections of
plain data), `plan`, `num_nodes`, and makes `pipelines`, a `compiled_model` and `callbacks`; a run,
the advisor and the probe need nothing else of it.
"""

import dataclasses
import functools

from lbkeras.planning.plan import Plan
from lbkeras.runs import build, experiment
from lbkeras.runs.components import code_of


@dataclasses.dataclass(frozen=True)
class ConfigTask:
    """What an arm of a config trains.

    Attributes:
        settings: the arm's sections, from `experiment.arm_settings`.
        data_dir: where prepared TFDS data lie.
        fake_data: random contents in place of a named set's, for a dry run.
    """

    settings: dict
    data_dir: str | None = None
    fake_data: bool = False

    @functools.cached_property
    def plan(self) -> Plan:
        return experiment.make_plan(self.settings)

    @property
    def num_nodes(self) -> int | None:
        return experiment.num_nodes(self.settings)

    def pipelines(self, seed: int):
        """The training and the test Pipeline; `build.make_pipelines`."""
        first = self.plan.phases[0].batch_size
        return build.make_pipelines(self.settings, first, seed, self.data_dir, self.fake_data)

    def model(self, train):
        """The model, not compiled; `build.make_model`."""
        return build.make_model(self.settings, train)

    def compiled_model(self, plan: Plan, strategy, train, **more):
        """The model, compiled for a plan; `build.compiled_model`."""
        return build.compiled_model(self.settings, plan, strategy, train, **more)

    def callbacks(self, folder, **known) -> list:
        """What steers and measures; `build.make_callbacks`."""
        return build.make_callbacks(self.settings, folder, plan=self.plan, **known)

    def own_code(self) -> dict[str, str]:
        """Hashes of the code of one's own components, by their names; imports them."""
        return code_of(self.settings)

    def reading_data(self):
        """A context that says of data that cannot be read which they are."""
        from lbkeras.runs.reading import reading_data

        return reading_data(self.settings["data"]["name"])

    def setting(self, key: str) -> tuple[str, object]:
        """A setting as the user names it, and its value.

        Args:
            key: `"model"`, `"num_examples"` or `"test_batch_size"`.
        """
        section, name = ("model", "name") if key == "model" else ("data", key)
        return f"{section}.{name}", self.settings[section][name]
