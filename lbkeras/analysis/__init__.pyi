from lbkeras.methods.noise_scale.averages import GradientNoiseAverages as GradientNoiseAverages
from lbkeras.methods.noise_scale.estimates import adascale_gain as adascale_gain
from lbkeras.methods.noise_scale.estimates import cabs_batch_size as cabs_batch_size
from lbkeras.methods.noise_scale.estimates import gradient_noise_scale as gradient_noise_scale
from lbkeras.methods.noise_scale.estimates import piece_estimates as piece_estimates
from lbkeras.methods.sharpness.maximum import sharpness as sharpness
from lbkeras.methods.sharpness.random_subspace import RandomSubspace as RandomSubspace
