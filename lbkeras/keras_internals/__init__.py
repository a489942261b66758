"""The seam: everything that reads a private name of Keras, TensorFlow or TensorFlow Datasets.

No other file does; `tests/public_names_test.py` holds them to it. Each name is read when it is
needed, so a Keras that lacks one costs only what needs it, and says so in one line. A function here
has one test against the installed Keras, in `tests/keras_internals/`, and
`tools/check_keras_versions.sh` runs those against the lowest supported Keras, the installed one and
the newest pre-release.

Modules import what they need by its full name, `lbkeras.keras_internals.MODULE`: this package
re-exports nothing, so that none of them loads TensorFlow for another.
"""
