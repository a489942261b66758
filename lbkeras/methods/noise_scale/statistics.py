"""Gradient statistics from the gradients that an update computes anyway."""

import keras

from lbkeras.methods.noise_scale.pieces_statistics import PiecesStatistics


class GradientStatistics(PiecesStatistics):
    """Running means of tr(Σ) and |G|² over the updates, computed in the train step.

    An update's gradient is the sum of pieces: the micro-batches of `micro_batch_train_step`, the
    replicas' parts of the batch, or the micro-batches of all replicas. With n_i the examples and
    g_i the mean gradient of each of k pieces, N the examples of all pieces, and G = sum w_i g_i
    (w_i = n_i / N if replicas have equal parts),

        tr(Σ) = (sum n_i |g_i|² / N − |G|²) / (k / N − h),   h = sum w_i² / n_i
        |μ|²  = |G|² − tr(Σ) h

    are estimates without bias. With h = 1 / N they equal `lbkeras.analysis.piece_estimates`.
    Gradients are of the optimizer's loss: unscaled, with regularizers, before clipping and weight
    decay. Updates with only one piece or with values that are not finite are skipped.

    On JAX there are no replicas, and the pieces are the micro-batches.

    Cost: one pass over each piece's gradients and one over their sum; with replicas, also an
    all-reduce of a few scalars.

    Args:
        model: a compiled model; its optimizer is built before the first update.
        per_layer: whether to add a column for each layer with weights.
        preconditioned: whether to divide gradients by √v̂ + epsilon of the optimizer; the first
            five updates are then skipped.

    Attributes:
        columns: the layers' names with `per_layer`; the last column, "", is for all weights.
        on_update: function that is called in each replica, in the graph, at the end of each update;
            or None.
        undivided_error: if not empty, the message of the `UserError` that is raised for an update
            with only one piece.

    Raises:
        UserError: the optimizer accumulates gradients over updates, has no second moments although
            `preconditioned`, or does not sum the replicas' gradients as Keras does.
    """

    def __new__(cls, model: keras.Model, per_layer: bool = False, preconditioned: bool = False):
        if keras.backend.backend() != "tensorflow":
            return super().__new__(cls)
        from lbkeras.methods.noise_scale.tensorflow_statistics import ReplicaStatistics

        return ReplicaStatistics(model, per_layer, preconditioned)
