"""The task of a run that comes from an arm of a config; `python_task.py` has that of a function.

A task has `settings` (sections of plain data on which the run's folder and the commands of all
workers must agree), `plan` and `num_nodes`. It makes `pipelines`, a `compiled_model` and
`callbacks`. A run, the advisor and the probe need nothing else of it.
"""

import dataclasses
import functools

from lbkeras.planning.plan import Plan
from lbkeras.runs import build, experiment
from lbkeras.runs.components import code_of


@dataclasses.dataclass(frozen=True)
class ConfigTask:
    """The data, model, plan and callbacks of an arm of a config.

    Attributes:
        settings: the arm's sections, from `experiment.arm_settings`.
        data_dir: the folder of prepared TFDS data.
        fake_data: whether random data replaces a named data set, for a dry run.
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
        """Makes the training and the test Pipeline; see `build.make_pipelines`."""
        first = self.plan.phases[0].batch_size
        return build.make_pipelines(self.settings, first, seed, self.data_dir, self.fake_data)

    def model(self, train):
        """Makes the uncompiled model; see `build.make_model`."""
        return build.make_model(self.settings, train)

    def compiled_model(self, plan: Plan, strategy, train, **more):
        """Makes the model, compiled for a plan; see `build.compiled_model`."""
        return build.compiled_model(self.settings, plan, strategy, train, **more)

    def callbacks(self, folder, **known) -> list:
        """Makes the arm's callbacks; see `build.make_callbacks`."""
        return build.make_callbacks(self.settings, folder, plan=self.plan, **known)

    def own_code(self) -> dict[str, str]:
        """Returns a hash of the code of each of the user's own components; imports them."""
        return code_of(self.settings)

    def reading_data(self):
        """Returns a context that names the data if it cannot be read."""
        from lbkeras.runs.reading import reading_data

        return reading_data(self.settings["data"]["name"])

    def setting(self, key: str) -> tuple[str, object]:
        """Returns a setting's name in the config, and its value.

        Args:
            key: `"model"`, `"num_examples"` or `"test_batch_size"`.
        """
        section, name = ("model", "name") if key == "model" else ("data", key)
        return f"{section}.{name}", self.settings[section][name]
