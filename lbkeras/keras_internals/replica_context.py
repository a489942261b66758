"""The replica context, for layers and train steps that communicate between replicas."""


def replica_context():
    """Returns TensorFlow's replica context if several replicas run this step, else None."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context
