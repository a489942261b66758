"""Keskar's sharpness: how much the loss rises in a box around the weights."""
