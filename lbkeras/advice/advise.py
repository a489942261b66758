"""`lbkeras.advise`: the plan that `lbkeras plan --auto` recommends, for a model of one's own."""

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
    """Measures how large a batch still pays for a model, and recommends a plan, with reasons.

    Trains a model for a quarter of the epochs (at least 2, and no more than about a minute unless 2
    take longer) under `AdaptiveBatchSize`, which measures the gradient noise scale; then tries the
    batch sizes of both plans. What it trains is thrown away. Python's, NumPy's and Keras' random
    numbers begin anew.

    Args:
        make_model: makes a compiled `keras.Model`, functional or subclassed, a new one at each
            call; with any loss whose value for an example does not depend on the others.
        train: a `lbkeras.data.Pipeline`, or what one takes as its source, such as `(x, y)`, whose
            batch size is then Keras' default, 32.
        plan: what is trained by now; None: `epochs` at `train.batch_size` with the learning rate
            and momentum that the model is compiled with.
        epochs: of that training, at least 3; expected without a plan only.
        strategy: a name for `lbkeras.distribution.strategy`.
        verbose: 0 prints nothing while it measures.

    Returns:
        An `Advice`: `plan`, the recommended `Plan`; `baseline`, the present one; `seconds` and
        `baseline_seconds`, predicted for each of their phases. `print(advice)` says it in words.

    Raises:
        UserError: an argument is not usable, memory does not suffice, or the loss is no number.

    Example, with a `make_model` and arrays of one's own:

        advice = lbkeras.advise(make_model, (x, y), epochs=20)
        print(advice)

    Reference: McCandlish, Kaplan and Amodei 2018, arXiv:1812.06162; Johnson et al. 2020,
    arXiv:2007.05105.
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
        raise UserError(f"epochs: expected none beside a plan, received {epochs!r}")
    elif not isinstance(plan, Plan):
        raise UserError(f"plan: expected a Plan or None, received {plan!r}")
    advisor.check_length(plan, epochs="epochs", num_examples="train")
    task = PythonTask(model, train, None, plan)
    task.check()
    with task.reading_data():
        return advisor.advise(task, strategy, say=_say if verbose else _nothing)


def _present_plan(model, train, epochs) -> Plan:
    """One phase, with what the model is compiled with."""
    if epochs is None:
        raise UserError("epochs: expected how many are trained, or a plan, received neither")
    compiled = model.trial.compiled
    rate = compiled["learning_rate"]
    if isinstance(rate, str):
        raise UserError(
            f"plan: expected one where the learning rate is a schedule ({rate}), whose steps are "
            "those of one batch size, received none; lbkeras.planning.cosine_plan and others make "
            "one in epochs"
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
    """For `verbose=0`."""
