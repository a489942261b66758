"""`lbkeras.advise`: what `lbkeras plan --auto` recommends, for your own model."""

import sys
from collections.abc import Callable
from typing import Any

from lbkeras import checks
from lbkeras.advice import advisor
from lbkeras.errors import UserError
from lbkeras.keras_internals.backend_start import require_tensorflow
from lbkeras.keras_internals.tensorflow_start import load_tensorflow
from lbkeras.planning.explicit_plan import explicit_plan
from lbkeras.planning.plan import Plan


def advise(
    make_model: Callable[[], Any],
    train: Any,
    *,
    plan: Plan | None = None,
    epochs: int | None = None,
    strategy: str = "auto",
    verbose: int = 1,
) -> advisor.Advice:
    """Measures up to which batch size larger batches pay off, and recommends a plan with reasons.

    Trains a model under `AdaptiveBatchSize`, which measures the gradient noise scale, for a quarter
    of the epochs: at least 2 epochs, and otherwise at most about a minute. Then tries a step at
    each batch size of both plans, for its time and memory. The trained model is discarded. Resets
    the random seeds of Python, NumPy and Keras. Needs Keras' TensorFlow backend.

    Args:
        make_model: function that returns a new compiled `keras.Model`, functional or subclassed,
            at each call. Its loss for one example must not depend on other examples.
        train: a `lbkeras.data.Pipeline`, or a source for one, such as `(x, y)`; the batch size is
            then Keras' default, 32.
        plan: the present `Plan` of the training. None: `epochs` at `train.batch_size` with the
            learning rate and momentum that the model is compiled with.
        epochs: length of the training, at least 3. Only without `plan`.
        strategy: a name for `lbkeras.distribution.strategy`.
        verbose: 0 prints nothing during the measurement.

    Returns:
        An `Advice`: `plan`, the recommended `Plan`; `baseline`, the present one; `seconds` and
        `baseline_seconds`, predicted for each of their phases. `print(advice)` explains it.

    Raises:
        UserError: Keras' backend is not TensorFlow; an argument is not usable; `train` has fewer
            than 64 examples; there is no `plan` and the model is compiled with a learning-rate
            schedule; there is not enough memory; or the loss is not finite.

    Example, with your own `make_model` and arrays:

        advice = lbkeras.advise(make_model, (x, y), epochs=20)
        print(advice)

    Reference: McCandlish et al., arXiv:1812.06162, section 2.2; Johnson et al., arXiv:2007.05105,
    section 3.
    """
    require_tensorflow("lbkeras.advise")
    load_tensorflow()
    from lbkeras.runs.own_model import OwnModel
    from lbkeras.runs.python_task import PythonTask, as_training_data

    train = as_training_data(train)
    model = OwnModel(make_model, train, None)
    if plan is None:
        plan = _present_plan(model, train, epochs)
    elif epochs is not None:
        raise UserError(f"epochs: expected None with a plan, received {epochs!r}")
    elif not isinstance(plan, Plan):
        raise UserError(f"plan: expected a Plan or None, received {plan!r}")
    advisor.check_length(plan, epochs="epochs", num_examples="train")
    task = PythonTask(model, train, None, plan)
    task.check()
    with task.reading_data():
        return advisor.advise(task, strategy, say=_say if verbose else _nothing)


def _present_plan(model, train, epochs) -> Plan:
    """Returns a plan of one phase with the settings that the model is compiled with."""
    if epochs is None:
        raise UserError("epochs: expected the number of epochs, or a plan, received neither")
    compiled = model.trial.compiled
    rate = compiled["learning_rate"]
    if isinstance(rate, str):
        raise UserError(
            f"plan: expected a plan, as the learning rate is a schedule ({rate}) whose steps are "
            "valid for one batch size only, received None; lbkeras.planning.cosine_plan and others "
            "make a plan in epochs"
        )
    phase = {
        "first_epoch": 0,
        "epochs": checks.integer("epochs", epochs, minimum=1),
        "batch_size": train.batch_size,
        "learning_rate": rate,
        "momentum": compiled["momentum"] or 0.0,
    }
    return explicit_plan(phases=[phase], num_examples=train.num_examples)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _nothing(line: str) -> None:
    """Prints nothing, for `verbose=0`."""
