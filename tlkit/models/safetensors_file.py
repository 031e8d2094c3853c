"""Reads `.safetensors` files: PyTorch's state dicts, in a format that can hold nothing but numbers."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes  # noqa: F401  (NumPy learns bfloat16 from it)
import numpy as np
from safetensors import SafetensorError, safe_open

from tlkit.errors import WeightsError
from tlkit.models.tensors import Tensor, WeightsFile
from tlkit.models.torch_file import by_layer


@contextlib.contextmanager
def open_safetensors(path: Path) -> Iterator[WeightsFile]:
    """Opens a file of tensors that are named and laid out as PyTorch does.

    Raises:
        WeightsError: the header is broken, or says what the file does not bear out.
    """
    try:
        with safe_open(path, framework="np") as file:

            def tensor(name: str) -> Tensor:
                def read() -> np.ndarray:
                    return file.get_tensor(name)

                return Tensor(shape=tuple(file.get_slice(name).get_shape()), read=read)

            yield WeightsFile(layers=by_layer({name: tensor(name) for name in file.keys()}), torch=True)
    except SafetensorError as err:
        raise WeightsError(f"{path.name} is cut off or broken ({str(err)[:120]}). Fetch it again.") from err
