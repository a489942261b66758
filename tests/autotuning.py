"""tf.data without its autotuner, which can hang or crash a process that runs many tests."""


def no_autotuning():
    """Switches it off for all data sets that are made afterwards.

    TensorFlow 2.21 can wait for ever for the autotuner's thread when it releases an iterator of
    Keras' own data sets: seen in `keras.backend.clear_session`. An `lbkeras.data.Pipeline` is
    without it anyway.
    """
    import tensorflow as tf
    from tensorflow.python.data.ops import dataset_ops

    options = tf.data.Options()
    options.autotune.enabled = False
    dataset_ops.DatasetV2._apply_debug_options = lambda dataset: dataset.with_options(options)
