"""Makes Pipelines from the data of a user's function, and describes where data comes from."""

from lbkeras.config import is_own
from lbkeras.errors import UserError
from lbkeras.runs.components import call, imported
from lbkeras.runs.config_checks import OF_OWN_DATA, check_arguments, parameters_of


def own_pipelines(chosen: dict, seed: int, data_dir: str | None):
    """Returns the training and the test Pipeline, and a phrase for messages, such as "f returns".

    Args:
        chosen: the arm's section `data`.
        seed: the seed of the data's order.
        data_dir: passed to the function if it takes this argument.

    Raises:
        UserError: the function does not exist, cannot be called or returns something else.
    """
    name = chosen["name"]
    function = imported("data.name", name)
    arguments = {key: value for key, value in chosen.items() if key not in OF_OWN_DATA}
    if "data_dir" in parameters_of(function):
        arguments.setdefault("data_dir", data_dir)
    check_arguments("data", function, arguments)
    made = call("data", name, function, arguments)
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise UserError(
            "data.name: expected a function that returns training and test data, received "
            f"{name!r}, which returns a {type(made).__name__}"
        )
    augment = None
    if is_own(chosen["augmentation"]):
        augment = imported("data.augmentation", chosen["augmentation"])
    train = _own_pipeline(name, "training", made[0], seed, shuffle=True, augment=augment)
    test = _own_pipeline(name, "test", made[1], seed, shuffle=False)
    return train, test, f"{name} returns"


def _own_pipeline(name: str, which: str, source, seed: int, *, shuffle: bool, augment=None):
    """Returns what the user's function returned as a Pipeline with the run's order."""
    from lbkeras.data.pipeline import Pipeline

    where = f"data.name: the {which} data of {name}"
    if not isinstance(source, Pipeline):
        try:
            return Pipeline(source, 1, shuffle=shuffle, augment=augment, seed=seed)
        except UserError as error:
            if error.key == "augment":
                raise UserError(f"data.augmentation: {error.said}") from error
            raise UserError(f"{where}: {error.said}") from error
    if source.shuffle != shuffle:
        raise UserError(
            f"{where}: expected a Pipeline with shuffle={shuffle}, received shuffle={not shuffle}"
        )
    if augment is not None:
        raise UserError(
            f"data.augmentation: expected none with the Pipeline that {name} returns, which "
            "augments by itself"
        )
    source.seed = seed
    return source


def describe_data(settings: dict, data_dir: str | None) -> str:
    """Returns a line on where an arm's data comes from, for the record.

    Raises:
        UserError: as `lbkeras.data.load.describe`, or the user's own function does not exist.
    """
    name = settings["data"]["name"]
    if not is_own(name):
        from lbkeras.data.load import describe

        return describe(name, data_dir)
    lines = (imported("data.name", name).__doc__ or "").strip().splitlines()
    return lines[0] if lines else ""
