"""The one private import from Keras: its class for data that `fit` accepts as `x`.

Keras 3.8 to 3.15 hand any `DataAdapter` straight to the training loop
(`keras/src/trainers/data_adapters/__init__.py`, `get_data_adapter`) and ask it for a new
iterator each epoch. That is what lets the batch size change inside one `fit`.
"""

from keras.src.trainers.data_adapters.data_adapter import DataAdapter

__all__ = ["DataAdapter"]
