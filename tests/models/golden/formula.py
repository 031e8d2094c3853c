"""Weights and pixels from a formula: what `make.py` gives torchvision and what the tests give tlkit are the same.

NumPy's `RandomState` is frozen: its numbers never change.
"""

import math
import zlib

import numpy as np

SIZE = 224


def tensor(name, shape):
    """Returns the numbers of one tensor of a state dict, float32 (int64 for a counter)."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    uniform = np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape)
    if len(shape) > 1:  # a kernel: the variance of He et al., so that activations stay in range
        bound = math.sqrt(6 / math.prod(shape[1:]))
        low, high = -bound, bound
    elif name.endswith("running_var"):
        low, high = 0.5, 1.5
    elif name.endswith("weight"):  # of batch normalization; sums of residual blocks grow, a plain chain does not
        low, high = (0.4, 0.9) if name.startswith("layer") else (0.7, 1.3)
    else:
        low, high = -0.1, 0.1
    return (low + (high - low) * uniform).astype(np.float32)


def state_dict(shapes):
    """Returns a state dict: names to arrays."""
    return {name: tensor(name, tuple(shape)) for name, shape in shapes.items()}


def images(count=2, size=SIZE):
    """Returns `[count, size, size, 3]` whole numbers in [0, 255] as float32: noise over slopes of red, green, blue."""
    random = np.random.RandomState(7)
    slope = np.linspace(0, 1, size)[None, :, None, None] * random.uniform(-191, 191, (count, 1, 1, 3))
    noise = random.randint(0, 64, (count, size, size, 3))
    return np.floor(np.where(slope < 0, 191, 0) + slope + noise).astype(np.float32)
