"""A language model of stacked LSTMs, for words or characters."""

import keras

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.models import parts


def lstm_language_model(
    vocabulary_size: int = 10_000,
    embedding: int = 200,
    units: int = 200,
    layers: int = 2,
    dropout: float = 0.0,
    weight_decay: float = 0.0,
    *,
    initial_range: float = 0.1,
    input_shape: tuple[int | None, ...] = (None,),
) -> keras.Model:
    """Returns a next-token model: embedding, stacked LSTMs, logits at every time step.

    Dropout applies to the input of each LSTM and of the logits, never to the recurrent state.
    Zaremba et al.'s networks for Penn Treebank, with 10,000 words:

        small    embedding=200,  units=200,  dropout=0,    initial_range=0.1    4.65 M parameters
        medium   embedding=650,  units=650,  dropout=0.5,  initial_range=0.05   19.8 M
        large    embedding=1500, units=1500, dropout=0.65, initial_range=0.04   66.0 M

    Args:
        vocabulary_size: number of different tokens, which are 0 to `vocabulary_size - 1`.
        embedding: size of a token's vector.
        units: size of each LSTM's state.
        layers: number of LSTMs. Default 2.
        dropout: rate, 0 to 1. Default 0.
        weight_decay: coupled L2 on kernels and recurrent kernels, not on the embedding: adds
            `weight_decay / 2 * |kernel|^2` to the loss.
        initial_range: kernels and embedding start uniform in ± this, biases at 0. Default 0.1.
        input_shape: `(time,)`, the number of tokens in an example, or `(None,)` for any.

    Returns:
        An uncompiled `keras.Model` from `(batch, time)` int32 tokens to
        `(batch, time, vocabulary_size)` float32 logits. Use a loss with `from_logits=True` and the
        tokens shifted by one as labels. The exponential of that loss is the perplexity.

    Raises:
        UserError: a size below 1, a negative `weight_decay`, or an `input_shape` that is not
            `(time,)`.

    Differs from the paper: every example starts from a zero state. The paper carries the state over
    from one batch to the next, which requires a constant batch size.

    Example:

    >>> model = lstm_language_model(vocabulary_size=10_000)
    >>> model.count_params()
    4651600

    Reference: Zaremba, Sutskever, Vinyals, "Recurrent Neural Network Regularization",
    arXiv:1409.2329, section 4.1; with large batches You et al., arXiv:1901.08256.
    """
    sizes = dict(vocabulary_size=vocabulary_size, embedding=embedding, units=units, layers=layers)
    for name, size in sizes.items():
        checks.integer(name, size, minimum=1)
    input_shape = checks.sequence("input_shape", input_shape)
    if len(input_shape) != 1:
        raise UserError(f"input_shape: expected (time,), received {input_shape}.")
    regularizer = parts.kernel_l2(weight_decay)

    def uniform():
        return keras.initializers.RandomUniform(-initial_range, initial_range)

    inputs = keras.Input(tuple(input_shape), dtype="int32", name="tokens")
    x = keras.layers.Embedding(
        vocabulary_size, embedding, embeddings_initializer=uniform(), name="embedding"
    )(inputs)
    for i in range(layers):
        x = keras.layers.Dropout(dropout)(x) if dropout else x
        x = keras.layers.LSTM(
            units,
            return_sequences=True,
            kernel_initializer=uniform(),
            recurrent_initializer=uniform(),
            unit_forget_bias=False,
            kernel_regularizer=regularizer,
            recurrent_regularizer=regularizer,
            name=f"lstm_{i + 1}",
        )(x)
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    outputs = parts.logits(x, vocabulary_size, weight_decay, kernel_initializer=uniform())
    return keras.Model(inputs, outputs, name="lstm_language_model")
