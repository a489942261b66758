"""The batch size follows the measured gradient noise scale."""
