"""The losses of `model.compile`, and the masks of tensors."""

from lbkeras.keras_internals.names import private, private_module

_MASKING = "keras.src.backend.common.masking"


def has_loss(model) -> bool:
    """Whether the model was compiled with a loss."""
    return private(model, "_compile_loss") is not None


def losses(model) -> list:
    """The `keras.losses.Loss` of each output, in the order in which they are added.

    Args:
        model: built and compiled; without a loss there are none.
    """
    compiled = private(model, "_compile_loss")
    return [] if compiled is None else [entry.loss for entry in private(compiled, "_flat_losses")]


def loss_metrics(model) -> list:
    """The metrics that Keras keeps of each loss, where there are several; else none."""
    return list(getattr(private(model, "_compile_loss"), "metrics", []))


def with_losses(model, replacements):
    """The compiled loss with other losses in the place of its own; the model's stays as it is.

    Args:
        model: built and compiled with a loss.
        replacements: as many `keras.losses.Loss` as `losses(model)` has.

    Returns:
        A function `(y, y_pred, sample_weight) -> loss`, weighted and summed as the model's.
    """
    compiled = private(model, "_compile_loss")
    entries = private(compiled, "_flat_losses")
    # `copy.copy` would go through its get_config.
    copy = object.__new__(type(compiled))
    vars(copy).update(vars(compiled))
    copy._flat_losses = [
        entry._replace(loss=loss) for entry, loss in zip(entries, replacements, strict=True)
    ]
    # Keras 3.16 wraps a ValueError of a loss in another; a UserError is to arrive as it is.
    vars(copy)["_call_loss"] = lambda loss, y, y_pred, weight, name: loss(y, y_pred, weight)
    return copy


def mask_of(tensor):
    """The mask that a layer left on a tensor, or None."""
    return private(private_module(_MASKING), "get_keras_mask")(tensor)


def set_mask(tensor, mask) -> None:
    """Leaves a mask on a tensor, as a layer does; None leaves it without."""
    private(private_module(_MASKING), "set_keras_mask")(tensor, mask)
