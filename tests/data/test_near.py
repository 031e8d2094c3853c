"""The perceptual hash, and the search for near duplicates."""

import io
import time

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tlkit.data.near import BITS, FLAT, Look, _candidates, look, near

from ..conftest import scene

MIRROR = Image.Transpose.FLIP_LEFT_RIGHT


def recompressed(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def linked(*images, labels=None, similarity=0.98):
    links = near([look(image) for image in images], labels or [0] * len(images), similarity)
    return [(link.one, link.other, link.mirrored) for link in links]


CHANGES = {
    "recompressed": lambda image: recompressed(image, 30),
    "half the size": lambda image: recompressed(image.resize((image.width // 2, image.height // 2)), 75),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.15),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "stretched": lambda image: image.resize((image.width, image.height * 2)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_photo_is_found(change):
    original = scene(3)
    assert linked(original, CHANGES[change](original), scene(4)) == [(0, 1, False)]


def test_a_mirrored_photo_is_found_within_its_class_only():
    original = scene(3)
    assert linked(original, original.transpose(MIRROR)) == [(0, 1, True)]
    assert linked(original, original.transpose(MIRROR), labels=[0, 1]) == []


def test_the_same_picture_is_found_under_another_label():
    assert linked(scene(3), scene(3), labels=[0, 1]) == [(0, 1, False)]


def test_a_product_in_another_colour_is_another_photo():
    grey = np.asarray(scene(3).convert("L"), np.float32)
    red, blue = (Image.fromarray((grey[..., None] * tint).astype(np.uint8)) for tint in ([1, 0.4, 0.3], [0.3, 0.5, 1]))
    assert linked(red, blue) == []
    assert linked(red, red.resize((30, 30))) == [(0, 1, False)]


def test_groups_have_no_more_links_than_they_need():
    one, other = scene(1), scene(2)
    images = [one, other, recompressed(one, 60), recompressed(other, 50), recompressed(one, 40), one]
    links = linked(*images)
    assert len(links) == 4
    assert all(a % 2 == b % 2 or {a, b} == {0, 5} or 5 in (a, b) for a, b, _ in links)


def test_a_photo_of_one_colour_is_flat_and_a_grey_one_grey():
    flat = look(Image.new("RGB", (50, 40), (90, 20, 10)))
    assert (flat.flat, flat.grey) == (True, False)
    noisy = np.random.default_rng(0).normal(128, 2 * FLAT, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    assert look(Image.fromarray(noisy)).flat  # what noise is left after averaging is no picture
    ordinary = look(scene(1))
    assert (ordinary.flat, ordinary.grey) == (False, False)
    assert look(recompressed(scene(1).convert("L").convert("RGB"), 50)).grey


def test_every_pair_of_close_hashes_is_found_once():
    random = np.random.default_rng(0)
    base = random.integers(0, 2**64, 60, dtype=np.uint64)
    flips = np.zeros(600, np.uint64)
    for i in range(600):
        for bit in random.choice(64, i % 13, replace=False):
            flips[i] |= np.uint64(1) << np.uint64(bit)
    hashes = np.repeat(base, 10) ^ flips
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    found = [pair for ones, others in _candidates(hashes, hashes) for pair in zip(ones, others, strict=True)]
    assert len(found) == len(set(found))
    assert set(found) == set(zip(*np.nonzero(distance <= BITS), strict=True))
    assert len(found) > 1000


def scenes(count, seed, *, of=None):
    """Looks of soft random pictures, or of one such picture that flickers."""
    random = np.random.default_rng(seed)
    base = 128 + 40 * random.normal(size=(1 if of else count, 6, 6))
    grid = np.clip(base + random.normal(0, 5, (count, 6, 6)), 0, 255).astype(np.uint8)
    return [look(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC).convert("RGB")) for one in grid]


def random_looks(count, seed):
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (count, 256), np.uint8)
    hashes = random.integers(0, 2**64, count, dtype=np.uint64)
    return [Look(int(h), row.tobytes(), bytes(32), False, False) for h, row in zip(hashes, small, strict=True)]


def test_time_does_not_grow_with_the_square():
    # All pairs of 60,000 are 1.8 billion: in Python half an hour, compared by NumPy 10 s.
    looks = random_looks(60_000, 0)
    copies = [Look(one.hash ^ 0b1011, one.small, one.tints, False, False) for one in looks[:500]]
    started = time.process_time()
    links = near(looks + copies, [0] * 60_500, 0.98)
    assert time.process_time() - started < 8
    assert {(link.one, link.other) for link in links} == {(i, 60_000 + i) for i in range(500)}


def test_a_camera_that_looks_at_one_place_makes_one_group():
    looks = scenes(3000, 1, of=1)
    frames = looks + [looks[0]] * 20_000
    started = time.process_time()
    links = near(frames, [0] * len(frames), 0.9)
    assert time.process_time() - started < 15
    assert len(links) == len(frames) - 1


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["ants_bees", "sign_digits"])
def test_on_real_photos_all_light_changes_are_found_and_nothing_else(shared, name):
    files = sorted(path for path in (shared / "data" / name).rglob("*") if path.is_file())[
        :: 1 if name[0] == "a" else 4
    ]
    images = [Image.open(path).convert("RGB") for path in files]
    changed = [change(image) for image in images[::4] for change in CHANGES.values()]
    changed += [image.transpose(MIRROR) for image in images[::4]]
    assert linked(*images) == []
    looks = [look(image) for image in (*images, *changed)]
    links = near(looks, [0] * len(looks), 0.98)
    groups = np.arange(len(looks))
    for link in links:
        groups[groups == groups[link.other]] = groups[link.one]
    count = len(images)
    originals = [i for i in range(0, count, 4) for _ in CHANGES] + list(range(0, count, 4))
    found = [groups[count + k] == groups[i] for k, i in enumerate(originals)]
    assert np.mean(found) >= 0.98
    assert len(np.unique(groups[:count])) == count
