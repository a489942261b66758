"""AdaScale (Johnson 2020): the gain of larger batches sets the learning rate and the length."""
