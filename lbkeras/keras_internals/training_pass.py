"""A model's forward pass in training mode, compiled as each backend does it."""


def training_pass(model):
    """A function of x: the model's outputs in training mode; what they change of the model stays.

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
