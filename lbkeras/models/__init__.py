"""Models: functions that return an uncompiled `keras.Model` from uint8 images to logits.

The language model takes int32 tokens instead.
"""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
