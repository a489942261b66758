"""AdaScale (Johnson 2020): the gain that counts epochs, and the learning rate that follows it."""
