"""All code that reads private names of Keras, TensorFlow or TensorFlow Datasets.

No other file may read one; `tests/public_names_test.py` checks this. Each name is read only when
it is needed. If a Keras version lacks it, only the features that need it fail, with a one-line
error. Each function here has a test against the installed Keras in `tests/keras_internals/`;
`tools/check_keras_versions.sh` runs these tests against the lowest supported Keras, the installed
one and the newest pre-release.

Other modules import from `lbkeras.keras_internals.MODULE`: this package re-exports nothing, so that
none of its modules loads TensorFlow for another.
"""
