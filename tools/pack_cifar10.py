"""Packs CIFAR-10 of TensorFlow Datasets into a file of JPEGs, for machines without TensorFlow.

    python tools/pack_cifar10.py DATA_DIR FILE.npz

For the splits "train" and "test" the file has jpeg_SPLIT, the concatenated bytes of all images;
offsets_SPLIT, the start of each image and the end; and labels_SPLIT. Images that are JPEGs in the
data set are copied; others are encoded with quality 75, which costs some accuracy.
"""

import io
import sys

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

QUALITY = 75
JPEG = b"\xff\xd8"


def main():
    data_dir, path = sys.argv[1:]
    arrays = {}
    for split in ("train", "test"):
        images, labels = [], []
        decoders = {"image": tfds.decode.SkipDecoding()}
        data = tfds.load("cifar10", split=split, data_dir=data_dir, download=False,
                         decoders=decoders)  # fmt: skip
        for example in tfds.as_numpy(data):
            images.append(_jpeg(example["image"]))
            labels.append(example["label"])
        arrays[f"jpeg_{split}"] = np.frombuffer(b"".join(images), np.uint8)
        arrays[f"offsets_{split}"] = np.cumsum([0, *map(len, images)])
        arrays[f"labels_{split}"] = np.asarray(labels, np.int32)
    np.savez_compressed(path, **arrays)


def _jpeg(encoded: bytes) -> bytes:
    if encoded.startswith(JPEG):
        return encoded
    file = io.BytesIO()
    Image.open(io.BytesIO(encoded)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


if __name__ == "__main__":
    main()
