"""TensorFlow's stateless random integers for NumPy and JAX, so all draw the same numbers.

Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, with the key
and counter that `tf.random.stateless_uniform(..., alg="philox")` derives from a seed.
"""

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_KEY_OF_SEEDS = 0x3EC8F720, 0x02461E29  # TensorFlow's, under which a seed becomes a key


def philox_integers(number: int, below: int, seed, xp):
    """Draws integers uniform on 0 to `below` - 1, a pure function of the seed.

    Equals `tf.random.stateless_uniform([number], seed, 0, below, tf.int32, alg="philox")`.

    Args:
        number: how many integers.
        below: at least 1.
        seed: two integers of at least 0, below 2^31.
        xp: `numpy` or `jax.numpy`.

    Returns:
        int32, `(number,)`.
    """
    first, second = (xp.asarray(each).astype(xp.uint32) for each in (seed[0], seed[1]))
    zero = xp.zeros((), xp.uint32)
    constants = [xp.asarray(each, xp.uint32) for each in _KEY_OF_SEEDS]
    key_0, key_1, counter_2, counter_3 = _philox((first, zero, second, zero), constants, xp)
    blocks = xp.arange(-(-number // 4)).astype(xp.uint32)
    ones = xp.ones_like(blocks)
    counter = blocks, 0 * ones, counter_2 * ones, counter_3 * ones
    words = xp.stack(_philox(counter, (key_0, key_1), xp), axis=1).reshape(-1)[:number]
    return (words % xp.asarray(below, xp.uint32)).astype(xp.int32)


def _philox(counter, key, xp):
    """Runs ten rounds: four words for each counter of four words."""
    a, b, c, d = counter
    key_0, key_1 = key
    for round_number in range(10):
        if round_number:
            key_0 = key_0 + xp.asarray(_KEY_STEPS[0], xp.uint32)
            key_1 = key_1 + xp.asarray(_KEY_STEPS[1], xp.uint32)
        (high_0, low_0), (high_1, low_1) = (
            _product(each, factor, xp) for each, factor in zip((a, c), _MULTIPLIERS, strict=True)
        )
        a, b, c, d = high_1 ^ b ^ key_0, low_1, high_0 ^ d ^ key_1, low_0
    return a, b, c, d


def _product(words, factor: int, xp):
    """Returns the high and low 32 bits of products, using halves: JAX may lack 64-bit integers."""
    half = xp.asarray(0xFFFF, xp.uint32)
    low, high = words & half, words >> 16
    whole, factor_high = xp.asarray(factor, xp.uint32), xp.asarray(factor >> 16, xp.uint32)
    factor_low = whole & half
    lowest = low * factor_low
    middle = high * factor_low + (lowest >> 16)
    other = low * factor_high + (middle & half)
    return high * factor_high + (middle >> 16) + (other >> 16), words * whole
