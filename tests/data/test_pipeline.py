"""The pipeline against the reference, on every kind of file."""

import io
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from tlkit.data import fast, pipeline
from tlkit.data.discover import Photo, discover
from tlkit.data.pipeline import Batch, Pixels, are_large, in_order
from tlkit.errors import DataError
from tlkit.preprocess import PreprocessSpec

from ..conftest import photo

SPEC = PreprocessSpec(input_size=32)


@pytest.fixture
def awkward(tmp_path):
    """One photo of each kind that decoders disagree about."""
    exif = Image.Exif()
    exif[0x0112] = 8
    high = np.asarray(photo(3).convert("L")).astype(np.uint16) * 256 + 99
    files = {
        "baseline.jpg": (photo(0, (200, 120)), {}),
        "progressive.jpg": (photo(1, (90, 211)), {"progressive": True, "subsampling": 0}),
        "grey.jpg": (photo(2).convert("L"), {}),
        "cmyk.jpg": (photo(4).convert("CMYK"), {}),
        "rotated.jpg": (photo(5, (80, 30)), {"exif": exif}),
        "plain.png": (photo(6), {}),
        "palette.png": (photo(7).quantize(20), {}),
        "sixteen.png": (Image.fromarray(high), {}),
        "alpha.png": (photo(8).convert("RGBA"), {}),
        "lossy.webp": (photo(9), {}),
        "a.gif": (photo(10).quantize(30), {}),
        "a.bmp": (photo(11), {}),
    }
    for name, (image, options) in files.items():
        image.save(tmp_path / name, **options)
    return tmp_path, [Photo(name, 0, name) for name in files]


def collect(pixels, batches):
    return [(indices, values.numpy()) for indices, values in pixels.dataset(map(Batch, batches))]


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        PreprocessSpec(input_size=32, decode="scaled"),
        PreprocessSpec(input_size=17, decode="scaled", resize="crop", crop_fraction=0.8),
        PreprocessSpec(input_size=17, resize="crop", crop_fraction=0.8),
    ],
)
def test_the_pipeline_is_within_one_grey_level_of_the_reference(awkward, spec):
    root, photos = awkward
    for indices, values in collect(Pixels(root, photos, spec), in_order(len(photos), 5)):
        for index, got in zip(indices, values, strict=True):
            expected = spec.load(root / photos[index].path).astype(int)
            assert np.abs(got - expected).max() <= 1, photos[index].path


def test_batches_come_in_the_order_given(awkward):
    root, photos = awkward
    order = [np.array([3, 1]), np.array([0, 5, 7]), np.array([3])]
    for _ in range(2):
        found = collect(Pixels(root, photos, SPEC), order)
        assert [indices.tolist() for indices, _ in found] == [[3, 1], [0, 5, 7], [3]]
        assert found[1][1].shape == (3, 32, 32, 3)


def test_a_photo_is_decoded_once_when_all_fit_into_memory(awkward, monkeypatch):
    root, photos = awkward
    decoded = []
    load = pipeline.fast.load
    monkeypatch.setattr(pipeline.fast, "load", lambda spec, path: decoded.append(path) or load(spec, path))
    pixels = Pixels(root, photos, SPEC)
    for _ in range(3):
        pixels.load(range(len(photos)))
    assert len(decoded) == len(photos)


def test_as_many_photos_are_kept_as_fit_into_memory(awkward, monkeypatch):
    root, photos = awkward
    decoded = []
    load = pipeline.fast.load
    monkeypatch.setattr(pipeline.fast, "load", lambda spec, path: decoded.append(path) or load(spec, path))
    whole = Pixels(root, photos, SPEC).load(range(len(photos)))
    decoded.clear()
    monkeypatch.setattr(pipeline, "KEEP_BYTES", 5 * 32 * 32 * 3)
    pixels = Pixels(root, photos, SPEC)
    for order in (range(len(photos)), range(len(photos))[::-1], [0, 11, 0]):
        assert np.array_equal(pixels.load(order), whole[list(order)])
    assert len(decoded) == 12 + 7 + 1


def test_photos_that_dont_fit_into_memory_are_decoded_again(awkward, monkeypatch):
    root, photos = awkward
    monkeypatch.setattr(pipeline, "KEEP_BYTES", 1000)
    small = Pixels(root, photos, SPEC)
    kept = Pixels.load(small, range(3))
    assert np.array_equal(small.load(range(3)), kept)


def test_a_turn_is_found_behind_any_metadata(tmp_path):
    """A thumbnail in front holds a scan of its own, and a profile bytes that look like one."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    photo(3, (48, 40)).save(file, "JPEG", exif=exif, icc_profile=b"\xff\xda" * 20)
    segments = file.getvalue()
    at = segments.index(b"\xff\xe1")
    size = 2 + int.from_bytes(segments[at + 2 : at + 4], "big")
    exif_last = segments[:at] + segments[at + size :]
    profile = exif_last.index(b"\xff\xe2")
    end = profile + 2 + int.from_bytes(exif_last[profile + 2 : profile + 4], "big")
    content = exif_last[:end] + segments[at : at + size] + exif_last[end:]
    assert fast._header(content).endswith(content[: content.rindex(b"\xff\xda")][-20:])
    assert len(fast._header(content)) < len(content)
    assert np.abs(fast.load(SPEC, content).astype(int) - SPEC.load(content)).max() <= 1
    assert fast._header(b"\xff\xd8\xff\xe0\xff") == b"\xff\xd8\xff\xe0\xff"


def exif_of(order, kind, value, first=()):
    """A block with one directory of whole numbers."""
    mark, entries = {"<": b"II*\0", ">": b"MM\0*"}[order], [*first, (0x0112, kind, value)]
    width = {1: "B3x", 3: "H2x", 4: "I"}
    rows = [struct.pack(f"{order}HHI{width[k]}", tag, k, 1, v) for tag, k, v in entries]
    return b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, len(rows)) + b"".join(rows) + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [1, 3, 4])
def test_photos_are_turned_as_their_camera_says(order, kind, monkeypatch):
    pytest.importorskip("simplejpeg", reason="pip install 'tlkit[fast]'")
    looked = []
    is_turned = fast._is_turned
    monkeypatch.setattr(fast, "_is_turned", lambda content: looked.append(content) or is_turned(content))
    for value in range(10):
        file = io.BytesIO()
        photo(3, (48, 40)).save(file, "JPEG", exif=exif_of(order, kind, value, [(0x0100, 3, 0x0112), (0x0101, 3, 1)]))
        content = file.getvalue()
        assert np.abs(fast.load(SPEC, content).astype(int) - SPEC.load(content)).max() <= 1, value
        assert (fast._jpeg(SPEC, content) is None) == (kind > 1 and 2 <= value <= 8), value  # a byte is none
    upright = io.BytesIO()
    photo(3, (48, 40)).save(upright, "JPEG", exif=exif_of(order, 3, 1))
    looked.clear()
    assert fast._jpeg(SPEC, upright.getvalue()) is not None and not looked  # as nearly every photo is


def test_a_turn_in_xmp_is_found():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    file = io.BytesIO()
    photo(3, (48, 40)).save(file, "JPEG", xmp=xmp)
    assert np.abs(fast.load(SPEC, file.getvalue()).astype(int) - SPEC.load(file.getvalue())).max() <= 1
    assert fast._jpeg(SPEC, file.getvalue()) is None


def test_what_stops_early_leaves_no_thread(awkward):
    root, photos = awkward
    before = threading.active_count()
    found = Pixels(root, photos, SPEC).dataset(map(Batch, [np.array([i % 12]) for i in range(50)]))
    next(found)
    found.close()
    assert threading.active_count() <= before + 2  # the pool that decodes


def test_a_photo_that_vanishes_is_named(awkward):
    root, photos = awkward
    pixels = Pixels(root, photos, SPEC)
    (root / "plain.png").unlink()
    with pytest.raises(DataError, match=r"plain.png can't be used any more: no such file. Put it back"):
        collect(pixels, in_order(len(photos), 4))


@pytest.mark.real_data
def test_real_photos_are_within_one_level_of_tensorflows_antialiased_resize(shared):
    import tensorflow as tf

    root = shared / "data" / "ants_bees" / "test"
    spec = PreprocessSpec(input_size=224)
    photos = discover(root).photos["all"][::10]
    for index, got in enumerate(Pixels(root, photos, spec).load(range(len(photos)))):
        content = (root / photos[index].path).read_bytes()
        decoded = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
        resized = np.round(tf.image.resize(decoded, (224, 224), antialias=True).numpy())
        assert np.abs(got - resized).max() <= 1


@pytest.mark.real_data
def test_what_the_fast_libraries_make_is_within_one_level_on_real_photos(shared):
    pytest.importorskip("cykooz_resizer", reason="pip install 'tlkit[fast]'")
    assert fast.is_fast()
    root = shared / "data" / "ants_bees" / "test"
    for decode, size in (("full", 224), ("scaled", 64)):
        spec = PreprocessSpec(input_size=size, decode=decode)
        for found in discover(root).photos["all"][::10]:
            content = (root / found.path).read_bytes()
            made = fast._jpeg(spec, content)
            assert made is not None, found.path
            assert np.abs(made.astype(int) - spec.load(content)).max() <= 1


def test_photos_much_larger_than_the_input_are_told_apart(tmp_path):
    spec = PreprocessSpec(input_size=32)
    for size, format_name, large in (
        ((400, 300), "JPEG", True),
        ((150, 150), "JPEG", False),
        ((400, 300), "PNG", False),
    ):
        photo(0, size).save(tmp_path / "a", format_name)
        assert are_large(tmp_path, [Photo("a", 0, "a")] * 3, spec) == large
    photo(0, (400, 300)).save(tmp_path / "a", "JPEG")
    assert not are_large(tmp_path, [Photo("a", 0, "a")], PreprocessSpec(input_size=32, decode="scaled"))
    assert not are_large(tmp_path, [Photo("gone", 0, "a")], spec)


@pytest.mark.slow
def test_memory_is_bounded_by_what_is_decoded_at_once(tmp_path):
    """A process of its own decodes photos of 36 MB, as RGB, each: many more than threads."""
    photo(0, (800, 600)).resize((4000, 3000)).save(tmp_path / "a.jpg", quality=80)
    script = """
import resource, sys
from pathlib import Path
from tlkit.data.discover import Photo
from tlkit.data.pipeline import Pixels
from tlkit.preprocess import PreprocessSpec
pixels = Pixels(Path(sys.argv[1]), [Photo("a.jpg", 0, "")] * 64, PreprocessSpec(input_size=96), keep=False)
pixels.load(range(2))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pixels.load(range(64))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, pixels.workers)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    grown, workers = map(int, done.stdout.split())
    assert grown * 1024 < workers * 3 * 48e6  # pixels of four bytes, their conversion and the resize's
