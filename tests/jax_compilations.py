"""Notes when Keras' JAX trainer compiles its train step."""

import logging

import keras


class Compilations(logging.Handler, keras.callbacks.Callback):
    """While it is entered, notes the epoch of each compilation; also a callback of the `fit`.

    `epochs` has a list for each program: "train_step", and "multi_step_scan" for a stack of steps.
    Each epoch waits for what is compiled in the background: whether that is ready in time depends
    on the machine.
    """

    def __init__(self):
        logging.Handler.__init__(self)
        keras.callbacks.Callback.__init__(self)
        self.epochs, self.epoch = {}, None

    def __enter__(self):
        self._log(True)
        return self

    def __exit__(self, *error):
        self._log(False)

    def emit(self, record):
        for name in ("train_step", "multi_step_scan"):
            if f"Finished XLA compilation of jit({name})" in record.getMessage():
                self.epochs.setdefault(name, []).append(self.epoch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        from lbkeras.keras_internals.jax_trainer import _one_thread

        _one_thread().submit(int).result()

    def _log(self, on: bool):
        import jax

        jax.config.update("jax_log_compiles", on)
        logger = logging.getLogger("jax._src.dispatch")
        (logger.addHandler if on else logger.removeHandler)(self)
