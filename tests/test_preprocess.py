"""Contract 2: the reference implementation, on every kind of file that people have."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tlkit.errors import ImageError, RunError
from tlkit.preprocess import MAX_PIXELS, PreprocessSpec, check_image

from .conftest import mutated_images, photo

SPEC = PreprocessSpec(input_size=24)


def antialiased(pixels, size):
    """Bilinear resize with a widened triangle filter, in NumPy: an implementation of the spec that is not Pillow's."""

    def weights(count):
        scale = max(count / size, 1.0)
        centers = (np.arange(size) + 0.5) * count / size
        distance = np.abs((np.arange(count) + 0.5)[None] - centers[:, None]) / scale
        w = np.maximum(0, 1 - distance)
        return w / w.sum(axis=1, keepdims=True)

    rows, columns = weights(pixels.shape[0]), weights(pixels.shape[1])
    return np.einsum("ih,hwc,jw->ijc", rows, pixels.astype(float), columns)


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("size", [(48, 36), (24, 24), (300, 20), (10, 90), (1, 1)])
def test_pixels_agree_with_an_independent_resize_within_one_level(tmp_path, size):
    image = photo(1, size)
    loaded = SPEC.load(saved(tmp_path, image, "a.png"))
    assert loaded.shape == (24, 24, 3)
    assert loaded.dtype == np.uint8
    assert np.abs(loaded - antialiased(np.asarray(image), 24)).max() <= 1.0


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.png", {}), ("a.bmp", {}), ("a.webp", {"lossless": True}), ("a.PNG", {}), ("фото è.png", {})],
)
def test_lossless_formats_give_the_same_pixels(tmp_path, name, options):
    assert np.array_equal(SPEC.load(saved(tmp_path, photo(), name, **options)), SPEC.apply(photo()))


def test_jpeg_is_decoded_as_tensorflow_does_with_the_accurate_transform(tmp_path):
    import tensorflow as tf

    path = saved(tmp_path, photo(3, (333, 251)), "a.jpg", quality=85)
    decoded = tf.io.decode_jpeg(path.read_bytes(), channels=3, dct_method="INTEGER_ACCURATE")
    resized = tf.image.resize(decoded, (24, 24), antialias=True).numpy()
    assert np.abs(SPEC.load(path) - resized).max() <= 1.0


def test_grey_becomes_three_equal_channels(tmp_path):
    loaded = SPEC.load(saved(tmp_path, photo().convert("L"), "a.png"))
    assert (loaded == loaded[..., :1]).all()


def test_palette_is_resolved_before_the_resize(tmp_path):
    image = photo().quantize(32)
    assert np.array_equal(SPEC.load(saved(tmp_path, image, "a.gif")), SPEC.apply(image.convert("RGB")))


def test_sixteen_bits_keep_their_high_byte(tmp_path):
    high = np.asarray(photo().convert("L")).astype(np.uint16)
    image = Image.fromarray(high * 256 + 37)
    assert image.mode.startswith("I;16")
    assert np.array_equal(SPEC.load(saved(tmp_path, image, "a.png")), SPEC.apply(photo().convert("L")))


def test_a_transparent_level_of_16_bits_is_laid_over_white(tmp_path):
    image = Image.fromarray(np.full((30, 30), 500, np.uint16))
    path = tmp_path / "a.png"
    image.save(path, transparency=500)
    assert (SPEC.load(path) == 255).all()


def test_cmyk_jpeg_has_the_colours_of_the_original(tmp_path):
    loaded = SPEC.load(saved(tmp_path, photo().convert("CMYK"), "a.jpg", quality=98))
    assert np.abs(loaded.astype(int) - SPEC.apply(photo())).mean() < 4


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_laid_over_white(tmp_path, mode):
    image = photo().convert(mode)
    image.putalpha(0)
    assert (SPEC.load(saved(tmp_path, image, "a.png")) == 255).all()
    image.putalpha(255)
    assert np.array_equal(SPEC.load(saved(tmp_path, image, "b.png")), SPEC.apply(image.convert(mode[:-1])))


def test_a_transparent_palette_colour_is_laid_over_white(tmp_path):
    image = Image.new("P", (30, 30), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    path = tmp_path / "a.png"
    image.save(path, transparency=1)
    assert (SPEC.load(path) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, orientation):
    turned = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 3),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = SPEC.load(saved(tmp_path, photo(), "a.png", exif=exif))
    upright = Image.fromarray(np.ascontiguousarray(turned(np.asarray(photo()))))
    assert np.array_equal(loaded, SPEC.apply(upright))


def test_broken_exif_does_not_spoil_the_pixels(tmp_path):
    plain = saved(tmp_path, photo(), "a.jpg").read_bytes()
    broken = plain[:2] + b"\xff\xe1\x00\x10Exif\x00\x00" + b"\xff" * 8 + plain[2:]
    assert np.array_equal(SPEC.load(broken), SPEC.load(plain))


def test_a_rotated_photo_with_a_damaged_exif_block_is_still_turned(tmp_path):
    """A tag of a wrong type makes rewriting the block fail; the orientation is known all the same."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    content = bytearray(saved(tmp_path, photo(), "a.jpg", exif=exif).read_bytes())
    where = content.index(b"Exif\x00\x00") + 6
    for entry in range(2):  # the type of the maker's name becomes one that does not exist
        at = where + 10 + 12 * entry
        if content[at : at + 2] in (b"\x0f\x01", b"\x01\x0f"):
            content[at + 2 : at + 4] = b"\x63\x63"
    plain = saved(tmp_path, photo(), "b.jpg")
    turned = Image.open(plain).transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(SPEC.load(bytes(content)), SPEC.apply(turned))


def test_mutated_photos_never_raise_anything_but_an_image_error():
    refused = 0
    for content in mutated_images(2000):
        try:
            assert SPEC.load(content).shape == (24, 24, 3)
        except ImageError:
            refused += 1
    assert 100 < refused < 1990


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    path = tmp_path / "a.gif"
    red, blue = Image.new("P", (30, 30), 0), Image.new("P", (30, 30), 1)
    for image in (red, blue):
        image.putpalette([255, 0, 0, 0, 0, 255])
    red.save(path, save_all=True, append_images=[blue])
    assert (SPEC.load(path) == [255, 0, 0]).all()


def test_crop_takes_the_central_square(tmp_path):
    values = np.zeros((100, 200, 3), np.uint8)
    values[10:90, 60:140] = 255
    spec = PreprocessSpec(input_size=24, resize="crop", crop_fraction=0.8)
    assert (spec.load(saved(tmp_path, Image.fromarray(values), "a.png")) == 255).all()
    assert (SPEC.load(saved(tmp_path, Image.fromarray(values), "a.png")) == 0).any()


def test_a_crop_fraction_keeps_the_aspect_ratio_of_a_stretched_photo(tmp_path):
    values = np.zeros((100, 200, 3), np.uint8)
    values[10:90, 20:180] = 255
    spec = PreprocessSpec(input_size=24, crop_fraction=0.8)
    assert (spec.load(saved(tmp_path, Image.fromarray(values), "a.png")) == 255).all()


def scaled(size=24, **options):
    return PreprocessSpec(input_size=size, decode="scaled", **options)


@pytest.mark.parametrize(
    ("sides", "by"), [((71, 400), 1), ((72, 400), 2), ((143, 143), 2), ((144, 144), 4), ((5000, 288), 8), ((20, 20), 1)]
)
def test_scaled_leaves_half_as_much_again_as_the_input(sides, by):
    assert scaled().scale(*sides) == by
    assert SPEC.scale(*sides) == 1


def test_the_scale_is_that_of_what_is_kept():
    assert scaled(24, crop_fraction=0.5).scale(286, 400) == 2
    assert scaled(24, crop_fraction=0.5).scale(288, 400) == 4


def test_a_jpeg_decoded_scaled_is_nearly_what_it_is_decoded_in_full(tmp_path):
    """Sides that no scale divides, so a box that is off by part of a pixel would show."""
    for size in ((401, 299), (155, 203), (997, 1003)):
        path = saved(tmp_path, photo(2, (30, 20)).resize(size), "a.jpg", quality=95)
        for options in ({}, {"resize": "crop", "crop_fraction": 0.875}):
            full = PreprocessSpec(input_size=24, **options).load(path).astype(int)
            found = scaled(**options).load(path)
            assert np.array_equal(found, scaled(**options).load(path.read_bytes()))
            assert 0 < np.abs(found - full).max()
            assert np.abs(found - full).mean() < 1.5
            assert abs((found - full).mean()) < 0.5


def test_scaled_changes_nothing_but_large_jpeg_photos(tmp_path):
    assert np.array_equal(*(s.load(saved(tmp_path, photo(0, (70, 70)), "a.jpg")) for s in (SPEC, scaled())))
    assert np.array_equal(*(s.load(saved(tmp_path, photo(0, (300, 300)), "a.png")) for s in (SPEC, scaled())))
    assert np.array_equal(*(s.load(saved(tmp_path, photo(0, (300, 300)), "a.webp")) for s in (SPEC, scaled())))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_scaled_turns_photos_as_full_does(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, photo(1, (12, 8)).resize((301, 199)), "a.jpg", exif=exif, quality=95)
    assert np.abs(scaled().load(path).astype(int) - SPEC.load(path)).mean() < 1.5


@pytest.mark.real_data
def test_scaled_is_within_one_grey_level_on_average_on_real_photos(shared):
    files = sorted((shared / "data" / "ants_bees" / "test").rglob("*.jpg"))[::8]
    apart = [np.abs(scaled(64).load(path).astype(int) - PreprocessSpec(input_size=64).load(path)) for path in files]
    assert 0 < np.mean(apart) < 1.0


def test_a_spec_survives_its_dictionary():
    spec = PreprocessSpec(input_size=96, resize="crop", crop_fraction=0.875)
    assert PreprocessSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize("change", [{"version": 2}, {"sharpen": True}])
def test_a_spec_of_another_version_is_refused(change):
    with pytest.raises(RunError, match="another version of tlkit"):
        PreprocessSpec.from_dict(SPEC.to_dict() | change)


def tiny_png(width, height):
    """A PNG of a few bytes that claims to be huge."""
    chunks = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 9)), (b"IEND", b"")):
        chunks += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return chunks


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "not a JPEG, PNG, BMP, GIF or WebP image"),
        (b"%PDF-1.7 nothing", "not a JPEG, PNG, BMP, GIF or WebP image"),
        (tiny_png(60_000, 60_000), f"too many pixels, the limit is {MAX_PIXELS:,}"),
        (tiny_png(30, 30), "damaged image"),
        (None, "damaged image"),
    ],
    ids=["empty", "text", "pdf", "bomb", "too few pixels", "truncated jpeg"],
)
def test_what_is_no_usable_image_is_refused_with_the_reason(tmp_path, content, reason):
    if content is None:
        buffer = io.BytesIO()
        photo(0, (200, 200)).save(buffer, "JPEG")
        content = buffer.getvalue()[: len(buffer.getvalue()) // 2]
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for read in (SPEC.load, check_image):
        with pytest.raises(ImageError, match=reason):
            read(path)


def test_a_tiff_is_refused_because_no_device_would_read_it_alike(tmp_path):
    path = saved(tmp_path, photo(), "a.tiff")
    with pytest.raises(ImageError, match="not a JPEG"):
        SPEC.load(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        SPEC.load(tmp_path / "a.jpg")
