"""TensorFlow Datasets, as far as it has no public way to read a set from its files alone."""


def default_data_dir() -> str:
    """Where TFDS looks for prepared sets unless told otherwise: `~/tensorflow_datasets`."""
    from tensorflow_datasets.core import constants

    return constants.DATA_DIR


def builder_from_files(name: str, data_dir: str):
    """The builder of a prepared set, made from its files: needs neither its code nor a network.

    Args:
        name: `NAME[/CONFIG][:VERSION]`; without a version the newest on disk.
        data_dir: the folder that holds the folder `NAME`.

    Raises:
        tfds.core.DatasetNotFoundError: there is no such set.
    """
    from tensorflow_datasets.core import read_only_builder

    return read_only_builder.builder_from_files(name, data_dir=data_dir)
