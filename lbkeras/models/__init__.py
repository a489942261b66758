"""Models: functions that return an uncompiled `keras.Model`, uint8 images in, logits out."""

from lbkeras.models.convolutional import small_cnn
from lbkeras.models.mlp import mlp
from lbkeras.models.resnet import cifar_resnet
from lbkeras.models.wide_resnet import wide_resnet

__all__ = ["cifar_resnet", "mlp", "small_cnn", "wide_resnet"]
