"""Reads TensorFlow Datasets from their files alone, for which TFDS has no public interface."""


def default_data_dir() -> str:
    """Returns the folder where TFDS looks for prepared data sets, `~/tensorflow_datasets`."""
    from tensorflow_datasets.core import constants

    return constants.DATA_DIR


def builder_from_files(name: str, data_dir: str):
    """Returns the builder of a prepared data set, without its code and without a network.

    Args:
        name: `NAME[/CONFIG][:VERSION]`; without a version the newest one on disk.
        data_dir: the folder that contains the folder `NAME`.

    Raises:
        tfds.core.DatasetNotFoundError: there is no such data set.
    """
    from tensorflow_datasets.core import read_only_builder

    return read_only_builder.builder_from_files(name, data_dir=data_dir)
