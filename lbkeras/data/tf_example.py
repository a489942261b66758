"""Reads the image and label from a serialized `tf.train.Example`, without TensorFlow."""

import functools
from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

_PACKAGE = "lbkeras"  # not TensorFlow's own, which may be loaded too
_Field = descriptor_pb2.FieldDescriptorProto


@functools.cache
def example_class() -> type[message.Message]:
    """Makes a message class with the wire format of `tf.train.Example`.

    It has the bytes and integers that image sets need; floats are skipped.
    """
    file = descriptor_pb2.FileDescriptorProto(name="example", package=_PACKAGE, syntax="proto3")
    _add(file, "BytesList", value=(1, _Field.TYPE_BYTES, True))
    _add(file, "Int64List", value=(1, _Field.TYPE_INT64, True))
    feature = _add(
        file, "Feature", bytes_list=(1, "BytesList", False), int64_list=(3, "Int64List", False)
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = _add(file, "Features", feature=(1, "Features.FeatureEntry", True))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add_fields(entry, key=(1, _Field.TYPE_STRING, False), value=(2, "Feature", False))
    _add(file, "Example", features=(1, "Features", False))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"{_PACKAGE}.Example")
    return message_factory.GetMessageClass(found)


def _add(file, name: str, **fields):
    """Adds a message to a file, with fields as `(number, type or message, repeated)`."""
    made = file.message_type.add(name=name)
    _add_fields(made, **fields)
    return made


def _add_fields(made, **fields) -> None:
    for name, (number, kind, repeated) in fields.items():
        label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        field = made.field.add(name=name, number=number, label=label)
        if isinstance(kind, str):
            field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
        else:
            field.type = kind


def image_and_label(
    image_key: str, label_key: str, num_classes: int
) -> Callable[[bytes], tuple[bytes, int]]:
    """Returns a function from a serialized example to its `(encoded image, label)`.

    Args:
        image_key: the feature that holds the encoded image.
        label_key: the feature that holds the class.
        num_classes: labels must be below it.

    Returns:
        The function. It raises ValueError for other bytes and for labels out of range.

    Example:

    >>> example = example_class()()
    >>> example.features.feature["image"].bytes_list.value.append(b"...")
    >>> example.features.feature["label"].int64_list.value.append(3)
    >>> image_and_label("image", "label", 10)(example.SerializeToString())
    (b'...', 3)
    """
    parsed: Any = example_class()

    def parse(record: bytes) -> tuple[bytes, int]:
        try:
            feature = parsed.FromString(record).features.feature
        except message.DecodeError:
            raise ValueError("expected a serialized tf.train.Example, received others") from None
        image = feature[image_key].bytes_list.value if image_key in feature else ()
        label = feature[label_key].int64_list.value if label_key in feature else ()
        if len(image) != 1 or len(label) != 1:
            raise ValueError(
                f"expected one image {image_key!r} and one label {label_key!r}, received "
                f"{len(image)} and {len(label)}"
            )
        if not 0 <= label[0] < num_classes:
            raise ValueError(f"expected labels from 0 to {num_classes - 1}, received {label[0]}")
        return image[0], label[0]

    return parse
