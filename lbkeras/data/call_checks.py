"""Checks the `fit`, `evaluate` or `predict` that a Pipeline is passed to."""

import warnings

from lbkeras.data.labels import check_labels
from lbkeras.errors import UserError
from lbkeras.keras_internals.borrowed import give_back_all
from lbkeras.keras_internals.running_call import running_call, running_model

# Arguments of `fit` and `evaluate` that Keras ignores beside a Pipeline, and what replaces them.
_DROPPED = {
    "y": "targets as the source's second part",
    "sample_weight": "weights as the source's third part, (x, y, sample_weight)",
    "class_weight": "weights as the source's third part, (x, y, class_weights[y])",
    "batch_size": "the Pipeline's own batch_size",
}


def check_call(pipeline) -> None:
    """Refuses what Keras would get wrong or ignore in the running call.

    Args:
        pipeline: the Pipeline whose batches Keras is about to read.
    """
    call, arguments = running_call()
    validates = call == "fit" and arguments["validation_data"] is pipeline
    if validates and arguments["x"] is pipeline:
        raise UserError(
            "validation_data: expected a different Pipeline from the one trained on, such "
            "as pipeline.in_order(batch_size), received the same one"
        )
    left_out = pipeline.num_examples % pipeline.batch_size
    if pipeline.shuffle and left_out and (validates or call == "evaluate"):
        warnings.warn(
            f"evaluate: a shuffled Pipeline leaves {left_out} of {pipeline.num_examples} examples "
            "out; expected one with shuffle=False, such as pipeline.in_order(batch_size)",
            stacklevel=2,
        )
    if arguments.get("x") is not pipeline:
        return
    if call == "predict" and pipeline.shuffle:
        raise UserError(
            "predict: expected a Pipeline(..., shuffle=False), whose predictions come in the "
            "source's order, received a shuffled one"
        )
    for name, instead in _DROPPED.items():
        if arguments.get(name) is not None:
            raise UserError(f"{name}: expected {instead}, received {call}({name}=...)")
    if call == "fit" and pipeline.is_preparing:  # JAX asks again in each epoch
        give_back_all(running_model())
    label_range = pipeline.label_range()
    if label_range is not None and call in ("fit", "evaluate"):
        check_labels(running_model(), label_range)
