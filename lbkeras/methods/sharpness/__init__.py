"""Keskar's sharpness: how far the loss rises in a box around the weights."""
