"""A model's forward pass in training mode, compiled by the backend."""


def training_pass(model):
    """Returns a function from x to the model's outputs in training mode.

    Calling it also updates the model's state, such as batch-norm statistics.

    Args:
        model: a built `keras.Model`.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda x: model(x, training=True), reduce_retracing=True)
    if keras.backend.backend() == "jax":
        return _compiled_by_jax(model)
    return lambda x: model(x, training=True)


def _compiled_by_jax(model):
    import jax

    @jax.jit
    def compiled(trained, others, x):
        return model.stateless_call(trained, others, x, training=True)

    def run(x):
        variables = model.non_trainable_variables
        outputs, values = compiled(
            [v.value for v in model.trainable_variables], [v.value for v in variables], x
        )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return outputs

    return run
