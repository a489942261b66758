"""Update rules in plain NumPy, from the formulas of the papers and of the reference codes.

A rule is a function `(w, g, state, learning_rate, **settings)` that returns the new weights. It
keeps its slots in the dictionary `state`, which is empty before the first step; `state["step"]`
counts the steps done. Everything is computed in the dtype of `w`: float64 for expected values,
float32 to see the effect of rounding alone. `adapt` and `decay` say whether the tensor is scaled
and decayed; by default only tensors of rank 2 and more are.

    lars            arXiv:1708.03888 algorithm 1; "joint" norm as tensorflow/models 2.20 and optax
                    0.2.8; learning rate outside the buffer and clip as timm 1.0.31 and apex' LARC
    lamb            arXiv:1904.00962 algorithm 2 with bias correction, as tensorflow/models 2.20
    adamp, sgdp     arXiv:2006.08217 algorithms 2 and 1, as clovaai's adamp 0.3.0
    rmsprop_warmup  arXiv:1711.04325 section 3, the continuous form of alpha_SGD
"""

import math

import numpy as np


def norm(x):
    return np.sqrt(np.sum(np.square(x)))


def lars_ratio(w, g, *, weight_decay, trust_coefficient=0.001, epsilon=0.0, norm_kind="separate"):
    """Returns a tensor's trust ratio, or 1 if it would be 0 or infinite."""
    w_norm = norm(w)
    if norm_kind == "separate":
        g_norm = norm(g)
        denominator = g_norm + weight_decay * w_norm + epsilon
    else:
        g_norm = norm(g + weight_decay * w)
        denominator = g_norm + epsilon
    return (
        trust_coefficient * w_norm / denominator if w_norm > 0 and g_norm > 0 else w.dtype.type(1)
    )


def lars(
    w,
    g,
    state,
    learning_rate,
    *,
    momentum=0.9,
    weight_decay=0.0,
    trust_coefficient=0.001,
    epsilon=0.0,
    nesterov=False,
    clip=False,
    norm="separate",
    learning_rate_in_momentum=True,
    adapt=None,
    decay=None,
):
    weight_decay = weight_decay if _of_rank_two(w, decay) else 0.0
    ratio = 1.0
    if _of_rank_two(w, adapt):
        ratio = lars_ratio(
            w,
            g,
            weight_decay=weight_decay,
            trust_coefficient=trust_coefficient,
            epsilon=epsilon,
            norm_kind=norm,
        )
        if clip:
            ratio = min(ratio / learning_rate, 1.0)
    step = ratio * (g + weight_decay * w)
    inside, outside = (learning_rate, 1.0) if learning_rate_in_momentum else (1.0, learning_rate)
    v = momentum * state.get("v", np.zeros_like(w)) + inside * step
    state["v"] = v
    move = momentum * v + inside * step if nesterov else v
    return w - outside * move


def lamb(
    w,
    g,
    state,
    learning_rate,
    *,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-6,
    weight_decay=0.0,
    adapt=None,
    decay=None,
):
    m, v, first, second = _moments(w, g, state, beta_1, beta_2)
    u = (m / first) / (np.sqrt(v / second) + epsilon)
    if _of_rank_two(w, decay):
        u = u + weight_decay * w
    w_norm, u_norm = norm(w), norm(u)
    adapted = _of_rank_two(w, adapt) and w_norm > 0 and u_norm > 0
    return w - learning_rate * (w_norm / u_norm if adapted else 1.0) * u


def adamp(
    w,
    g,
    state,
    learning_rate,
    *,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-8,
    weight_decay=0.0,
    delta=0.1,
    weight_decay_ratio=0.1,
    nesterov=False,
):
    m, v, first, second = _moments(w, g, state, beta_1, beta_2)
    denominator = np.sqrt(v) / math.sqrt(second) + epsilon
    p = (beta_1 * m + (1 - beta_1) * g if nesterov else m) / denominator
    p, projected = project(w, g, p, delta, epsilon)
    shrink = learning_rate * weight_decay * (weight_decay_ratio if projected else 1.0)
    return w * (1 - shrink) - learning_rate / first * p


def sgdp(
    w,
    g,
    state,
    learning_rate,
    *,
    momentum=0.0,
    dampening=0.0,
    epsilon=1e-8,
    weight_decay=0.0,
    delta=0.1,
    weight_decay_ratio=0.1,
    nesterov=False,
):
    v = momentum * state.get("v", np.zeros_like(w)) + (1 - dampening) * g
    state["v"] = v
    p, projected = project(w, g, g + momentum * v if nesterov else v, delta, epsilon)
    decay = weight_decay * (weight_decay_ratio if projected else 1.0) / (1 - momentum)
    return w * (1 - learning_rate * decay) - learning_rate * p


def project(w, g, p, delta=0.1, epsilon=1e-8):
    """Returns `(p, projected)`: p without its part along w if w and g are nearly orthogonal.

    This is checked for each output channel (last axis), then for the whole layer.
    """
    if w.ndim < 2:
        return p, False
    for columns in (w.shape[-1], 1):
        ws, gs, ps = (x.reshape(-1, columns) for x in (w, g, p))
        w_norms, g_norms = norm_of_columns(ws), norm_of_columns(gs)
        cosines = np.abs(np.sum(ws * gs, axis=0)) / np.maximum(w_norms * g_norms, epsilon)
        if np.max(cosines) < delta / math.sqrt(ws.shape[0]):
            unit = ws / (w_norms + epsilon)
            return (ps - unit * np.sum(unit * ps, axis=0)).reshape(w.shape), True
    return p, False


def norm_of_columns(x):
    return np.sqrt(np.sum(np.square(x), axis=0))


def rmsprop_warmup(
    w,
    g,
    state,
    learning_rate,
    *,
    transition_center_steps,
    transition_period_steps,
    momentum=0.9,
    rho=0.99,
    epsilon=1e-8,
    rmsprop_learning_rate=3e-4,
):
    step = state.get("step", 0)
    state["step"] = step + 1
    sgd = alpha_sgd(step, transition_center_steps, transition_period_steps)
    rms = (1 - sgd) * rmsprop_learning_rate / learning_rate
    m = rho * state.get("m", np.zeros_like(w)) + (1 - rho) * np.square(g)
    d = momentum * state.get("d", np.zeros_like(w)) - (sgd + rms / (np.sqrt(m) + epsilon)) * g
    state["m"], state["d"] = m, d
    return w + learning_rate * d


def alpha_sgd(step, center, period):
    """Returns the share of SGD at an update: 1/2 at the center, 1 from half a period later on."""
    x = (step - center) / period
    if x < 0:
        return 0.5 * math.exp(2 * x)
    return 0.5 + x if x < 0.5 else 1.0


def trajectory(
    rule, weights, gradients, learning_rates, dtype=np.float64, settings_of=None, **given
):
    """Returns the weights after all steps; `gradients[step][i]` belongs to `weights[i]`.

    `settings_of(i)` may return settings of one tensor in addition to those `given` for all.
    """
    weights = [w.astype(dtype) for w in weights]
    states = [{} for _ in weights]
    with np.errstate(divide="ignore"):
        for step, learning_rate in enumerate(learning_rates):
            for i, w in enumerate(weights):
                g = gradients[step][i].astype(dtype)
                settings = {**given, **(settings_of(i) if settings_of else {})}
                weights[i] = rule(w, g, states[i], dtype(learning_rate), **settings).astype(dtype)
    return weights


def _moments(w, g, state, beta_1, beta_2):
    """Returns Adam's two moments after this step, and the divisors of their bias correction."""
    step = state["step"] = state.get("step", 0) + 1
    m = beta_1 * state.get("m", np.zeros_like(w)) + (1 - beta_1) * g
    v = beta_2 * state.get("v", np.zeros_like(w)) + (1 - beta_2) * np.square(g)
    state["m"], state["v"] = m, v
    return m, v, 1 - beta_1**step, 1 - beta_2**step


def _of_rank_two(w, told):
    return w.ndim > 1 if told is None else told
