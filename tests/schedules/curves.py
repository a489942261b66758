"""Curves of all shapes over ten epochs."""

from lbkeras.schedules import Curve, Segment, cosine, linear_to_zero, polynomial, steps

CURVES = {
    "steps": steps([0.4, 0.04], [5], 10),
    "polynomial": polynomial(0.4, 0.01, 2.0, 10),
    "cosine": cosine(0.4, 0.01, 10),
    "linear": linear_to_zero(0.4, 10),
    "exponential": Curve((Segment(0, 10, 1e-5, 1.0, "exponential"),)),
}
