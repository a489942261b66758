"""Models: functions that return an uncompiled `keras.Model`, uint8 images in, logits out (the
language model: int32 tokens in)."""

from lbkeras.models.alexnet import alexnet
from lbkeras.models.convolutional import small_cnn
from lbkeras.models.inception_resnet_v2 import inception_resnet_v2
from lbkeras.models.keskar import keskar_c1, keskar_c2, keskar_c3, keskar_c4, keskar_f1
from lbkeras.models.lstm_language_model import lstm_language_model
from lbkeras.models.mlp import mlp
from lbkeras.models.pyramidnet import pyramidnet
from lbkeras.models.resnet import cifar_resnet
from lbkeras.models.resnet50 import resnet50
from lbkeras.models.row_lstm import row_lstm
from lbkeras.models.wide_resnet import wide_resnet

__all__ = [
    "alexnet",
    "cifar_resnet",
    "inception_resnet_v2",
    "keskar_c1",
    "keskar_c2",
    "keskar_c3",
    "keskar_c4",
    "keskar_f1",
    "lstm_language_model",
    "mlp",
    "pyramidnet",
    "resnet50",
    "row_lstm",
    "small_cnn",
    "wide_resnet",
]
