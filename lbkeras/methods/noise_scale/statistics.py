"""How noisy the gradient is, from the gradients that an update computes anyway."""

import keras

from lbkeras.methods.noise_scale.pieces_statistics import PiecesStatistics


class GradientStatistics(PiecesStatistics):
    """Running means of tr(Σ) and |G|² over the updates, in the train step.

    An update's gradient is made of pieces: the micro-batches of `micro_batch_train_step`, the
    replicas' parts, or the micro-batches of all replicas. With n_i examples and mean gradient g_i,
    G = sum w_i g_i over k pieces of N examples (w_i = n_i / N where replicas have equal parts),

        tr(Σ) = (sum n_i |g_i|² / N − |G|²) / (k / N − h),   h = sum w_i² / n_i
        |μ|²  = |G|² − tr(Σ) h

    without bias; `lbkeras.analysis.piece_estimates` with h = 1 / N. Gradients are those of the
    optimizer's loss: unscaled, with regularizers, before clipping and weight decay. An update with
    one piece alone, or with a number that is not finite, adds nothing.

    On JAX there are no replicas: the pieces are the micro-batches.

    Costs a pass over each piece's gradients and one over their sum, and with replicas an all-reduce
    of a few scalars.

    Args:
        model: a compiled model; its optimizer is built before the first update.
        per_layer: also a column for each layer with weights.
        preconditioned: gradients are divided by √v̂ + epsilon of the optimizer, once it has made
            five updates.

    Attributes:
        columns: the layers' names, where asked for; the last stands for all weights.
        on_update: called in each replica, in the graph, at the end of each update; or None.
        undivided_error: where it is not empty, the message of the UserError that one piece raises.

    Raises:
        UserError: an optimizer that accumulates gradients over updates, that has no second moments
            to divide by, or that doesn't sum the replicas' gradients as Keras does.
    """

    def __new__(cls, model: keras.Model, per_layer: bool = False, preconditioned: bool = False):
        if keras.backend.backend() != "tensorflow":
            return super().__new__(cls)
        from lbkeras.methods.noise_scale.tensorflow_statistics import ReplicaStatistics

        return ReplicaStatistics(model, per_layer, preconditioned)
