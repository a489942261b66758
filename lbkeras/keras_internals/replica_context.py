"""Whether several replicas run a step together, as layers and train steps ask."""


def replica_context():
    """TensorFlow's replica context where several replicas run this step together, else None."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context
