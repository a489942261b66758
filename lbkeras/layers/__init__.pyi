from lbkeras.layers.hadamard_classifier import HadamardClassifier as HadamardClassifier
from lbkeras.layers.orthonormal_classifier import OrthonormalClassifier as OrthonormalClassifier
from lbkeras.layers.shake_drop import ShakeDrop as ShakeDrop
from lbkeras.methods.batch_statistics.ghost_batch_normalization import (
    GhostBatchNormalization as GhostBatchNormalization,
)
from lbkeras.methods.batch_statistics.recompute_statistics import (
    recompute_statistics as recompute_statistics,
)
from lbkeras.methods.batch_statistics.replace_batch_normalization import (
    with_ghost_batch_normalization as with_ghost_batch_normalization,
)
