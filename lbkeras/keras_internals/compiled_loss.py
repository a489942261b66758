"""The losses given to `model.compile`, and masks of tensors."""

from lbkeras.keras_internals.names import private, private_module

_MASKING = "keras.src.backend.common.masking"


def has_loss(model) -> bool:
    """Whether the model was compiled with a loss."""
    return private(model, "_compile_loss") is not None


def losses(model) -> list:
    """Returns the `keras.losses.Loss` of each output, in the order in which they are added.

    Args:
        model: built and compiled; if it has no loss, the list is empty.
    """
    compiled = private(model, "_compile_loss")
    return [] if compiled is None else [entry.loss for entry in private(compiled, "_flat_losses")]


def loss_metrics(model) -> list:
    """Returns the metrics that Keras keeps for the single losses; none if there is only one."""
    return list(getattr(private(model, "_compile_loss"), "metrics", []))


def with_losses(model, replacements):
    """Returns a copy of the compiled loss with other losses; the model does not change.

    Args:
        model: built and compiled with a loss.
        replacements: one `keras.losses.Loss` for each of `losses(model)`.

    Returns:
        A function `(y, y_pred, sample_weight) -> loss`, weighted and summed like the model's.
    """
    compiled = private(model, "_compile_loss")
    entries = private(compiled, "_flat_losses")
    # `copy.copy` would go through its get_config.
    copy = object.__new__(type(compiled))
    vars(copy).update(vars(compiled))
    copy._flat_losses = [
        entry._replace(loss=loss) for entry, loss in zip(entries, replacements, strict=True)
    ]
    # Keras 3.16 wraps a loss's ValueError in another one; a UserError must arrive unchanged.
    vars(copy)["_call_loss"] = lambda loss, y, y_pred, weight, name: loss(y, y_pred, weight)
    return copy


def mask_of(tensor):
    """Returns the mask that a layer attached to a tensor, or None."""
    return private(private_module(_MASKING), "get_keras_mask")(tensor)


def set_mask(tensor, mask) -> None:
    """Attaches a mask to a tensor, as a layer does; None attaches none."""
    private(private_module(_MASKING), "set_keras_mask")(tensor, mask)
