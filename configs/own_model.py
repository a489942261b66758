"""Your own model and data: a config to copy and change.

Try it with

    lbkeras plan --config=own_model.py --auto
    lbkeras replicate --config=own_model.py --workdir=runs/own_model
"""


def load_data():  # training and test data: arrays, dicts of them, tf.data.Datasets or Pipelines
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = x / 16
    return (x[:1437], y[:1437]), (x[1437:], y[1437:])


def make_model(input_shape, width):  # uncompiled; Keras imported here, as `plan` runs without it
    import keras

    hidden = keras.layers.Dense(width, activation="relu")
    return keras.Sequential([keras.Input(input_shape), hidden, keras.layers.Dense(10)])


def get_config():
    return dict(
        data=dict(name=load_data, num_examples=1437),
        model=dict(name=make_model, width=64),
        # loss=dict(name="MeanSquaredError"), metrics=["MeanAbsoluteError"],  # Keras' or your own
        # targets=dict(val_accuracy=0.95),  # the report says what each run needed to reach it
        optimizer=dict(name="SGD", nesterov=True),
        plan=dict(name="cosine_plan", epochs=20, batch_size=16, learning_rate=0.01, momentum=0.9),
        arms=dict(own={}, large=dict(plan=dict(batch_size=128, learning_rate=0.08))),
    )
