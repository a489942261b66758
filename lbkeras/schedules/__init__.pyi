from lbkeras.methods.ada_scale.learning_rate import AdaScaleLearningRate as AdaScaleLearningRate
from lbkeras.schedules.curve import Curve as Curve
from lbkeras.schedules.curve import Segment as Segment
from lbkeras.schedules.decays import cosine as cosine
from lbkeras.schedules.decays import linear_to_zero as linear_to_zero
from lbkeras.schedules.decays import polynomial as polynomial
from lbkeras.schedules.decays import steps as steps
from lbkeras.schedules.epoch_learning_rate import (
    EpochLearningRateSchedule as EpochLearningRateSchedule,
)
from lbkeras.schedules.scaling import linear_scaling as linear_scaling
from lbkeras.schedules.scaling import square_root_scaling as square_root_scaling
from lbkeras.schedules.steered_learning_rate import SteeredLearningRate as SteeredLearningRate
from lbkeras.schedules.warm_up import prepend_warm_up as prepend_warm_up
from lbkeras.schedules.warm_up import warm_up as warm_up
