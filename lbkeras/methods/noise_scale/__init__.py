"""The gradient noise scale tr(Σ)/|G|² (McCandlish 2018), estimated during training."""
