"""What is frozen is computed once: the output of the frozen stages, cached on disk at the freeze boundary.

The key is everything that the output depends on: the photos' contents, the frozen weights, the preprocessing, the input
size, the boundary and the versions. It does not depend on the split, the head or the learning rate.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit.data.cache import cache_folder
from tlkit.data.discover import Photo
from tlkit.data.pipeline import Pixels, in_order
from tlkit.manifest import write_json
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress
from tlkit.transfer.freeze import stage_of

CACHE_VERSION = 1
BATCH = 32
# Layers after the last frozen stage that have no weights and no randomness, and make its output smaller or leave it.
_SHRINKING = (keras.layers.GlobalAveragePooling2D, keras.layers.Flatten)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A model cut at the freeze boundary; both parts share its layers.

    Attributes:
        boundary: The last layer of the backbone.
        backbone: From pixels to features, all frozen.
        tail: From features to logits.
    """

    boundary: str
    backbone: keras.Model
    tail: keras.Model


def cut(model: keras.Model, frozen: Sequence[str]) -> Parts | None:
    """Cuts a model behind its frozen stages; None when nothing is frozen."""
    last = max((i for i, layer in enumerate(model.layers) if stage_of(layer.name) in frozen), default=None)
    if last is None:
        return None
    while isinstance(model.layers[last + 1], _SHRINKING):
        last += 1
    boundary = model.layers[last]
    return Parts(
        boundary=boundary.name,
        backbone=keras.Model(model.input, boundary.output),
        tail=keras.Model(boundary.output, model.output),
    )


def estimate_bytes(parts: Parts, images: int) -> int:
    """Returns the size of the cache in bytes, before anything is computed."""
    return images * int(np.prod(parts.backbone.output.shape[1:])) * 4


@dataclass(frozen=True, kw_only=True)
class Features:
    """The cached output of the frozen stages.

    Attributes:
        array: `[different photos, ...]` float32, perhaps mapped from disk.
        row: From a photo's sha256 to its row.
        reused: Whether an earlier run had computed them.
    """

    array: np.ndarray
    row: dict[str, int]
    reused: bool

    def rows(self, photos: Iterable[Photo]) -> np.ndarray:
        """Returns the row of each photo."""
        return np.array([self.row[photo.sha256] for photo in photos], np.int64)


def features_of(
    parts: Parts,
    root: Path,
    photos: Sequence[Photo],
    spec: PreprocessSpec,
    *,
    progress: Progress,
) -> Features:
    """Returns the features of photos, from the cache or computed in one pass and cached.

    Args:
        parts: The cut model, with its weights.
        root: What the photos' paths are relative to.
        photos: Any number, of any split.
        spec: How a photo becomes pixels.
        progress: Shows a bar.
    """
    different = sorted({photo.sha256: photo for photo in photos}.values(), key=lambda photo: photo.sha256)
    row = {photo.sha256: i for i, photo in enumerate(different)}
    shape = (len(different), *parts.backbone.output.shape[1:])
    folder = cache_folder() / "features" / _key(parts, different, spec)
    if (found := _read(folder, shape)) is not None:
        return Features(array=found, row=row, reused=True)
    temporary = folder.with_name(f".{folder.name[:16]}.{os.getpid()}.{secrets.token_hex(3)}")
    temporary.mkdir(parents=True)
    try:
        array = np.lib.format.open_memmap(temporary / "features.npy", mode="w+", dtype=np.float32, shape=shape)
        _compute(array, parts, Pixels(root, different, spec, keep=False), progress)
        array.flush()
        del array
        write_json(temporary / "about.json", {"boundary": parts.boundary, "images": len(different)})
        try:
            os.replace(temporary, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    written = _read(folder, shape)
    assert written is not None, folder  # it was just made
    return Features(array=written, row=row, reused=False)


def _key(parts: Parts, photos: Sequence[Photo], spec: PreprocessSpec) -> str:
    """Hashes everything that the features depend on."""
    digest = hashlib.sha256()
    about = {
        "cache": CACHE_VERSION,
        "keras": [keras.__version__, keras.backend.backend()],
        "preprocess": spec.to_dict(),
        "backbone": json.loads(parts.backbone.to_json())["config"]["layers"],
        "photos": [photo.sha256 for photo in photos],
    }
    digest.update(json.dumps(about, sort_keys=True).encode())
    for weight in parts.backbone.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
    return digest.hexdigest()


def _read(folder: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Maps a cached array; one that is not whole is as good as none, and makes room for a new one."""
    array: np.ndarray | None
    try:
        array = np.load(folder / "features.npy", mmap_mode="r")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        array = None
    if array is None or array.shape != shape:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return array


def _compute(array: np.ndarray, parts: Parts, pixels: Pixels, progress: Progress) -> None:
    """Fills `array` with the backbone's output, photo by photo in order."""
    infer = inference(parts.backbone)
    with progress.bar("Frozen stages, computed once", len(array)) as bar, pixels.errors():
        for indices, batch in pixels.dataset(in_order(len(array), BATCH)):
            array[indices.numpy()] = infer(batch)
            bar.advance(len(indices))


def inference(model: keras.Model) -> Callable[[Any], np.ndarray]:
    """Returns a function from `[N, ...]` pixels or features to the model's output as NumPy, traced once for any N."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(model.input.shape, tf.float32)], autograph=False)
    def run(x: tf.Tensor) -> tf.Tensor:
        return model(x, training=False)

    return lambda x: run(tf.cast(x, tf.float32)).numpy()
