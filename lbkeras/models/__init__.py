"""Models: functions that return an uncompiled `keras.Model`, uint8 images in, logits out (the
language model: int32 tokens in)."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
