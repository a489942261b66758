from lbkeras.losses.label_smoothing_crossentropy import (
    LabelSmoothingCrossentropy as LabelSmoothingCrossentropy,
)
