"""Changes of light and angle do what they say, and the same every time."""

import numpy as np
import pytest

from tlkit.errors import OptionError
from tlkit.shifts import SHIFTS, shift_names, shifted

from .conftest import photo

PIXELS = np.asarray(photo(3, (64, 64)))
HASHES = ("0123456789abcdef" * 4, "fedcba9876543210" * 4)
ALL = [(name, strength) for name, shift in SHIFTS.items() for strength in shift.strengths]


@pytest.mark.parametrize(("name", "strength"), ALL)
def test_a_shift_changes_a_photo_and_the_same_photo_in_the_same_way(name, strength):
    before = PIXELS.copy()
    found = shifted(PIXELS, HASHES[0], name, strength)
    assert (found.shape, found.dtype) == (PIXELS.shape, np.uint8)
    assert not np.array_equal(found, PIXELS)
    assert np.array_equal(found, shifted(PIXELS, HASHES[0], name, strength))
    assert np.array_equal(PIXELS, before)


@pytest.mark.parametrize("name", ["brightness", "blur", "rotation", "noise", "jpeg"])
def test_a_severe_shift_changes_more_than_a_mild_one(name):
    strengths = [s for s in SHIFTS[name].strengths if name != "brightness" or s < 1]
    ordered = strengths if name in ("blur", "rotation", "noise") else sorted(strengths, reverse=True)
    changes = [np.abs(shifted(PIXELS, HASHES[0], name, s).astype(int) - PIXELS).mean() for s in ordered]
    assert changes == sorted(changes)


def test_brightness_multiplies_and_clips():
    grey = np.full((8, 8, 3), 200, np.uint8)
    assert (shifted(grey, HASHES[0], "brightness", 0.5) == 100).all()
    assert (shifted(grey, HASHES[0], "brightness", 2.0) == 255).all()


def test_noise_has_the_strength_that_it_says():
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert shifted(grey, HASHES[0], "noise", 10.0).std() == pytest.approx(10, abs=0.3)


def test_a_rotation_has_no_black_corners_and_keeps_the_middle():
    grey = np.full((33, 33, 3), 90, np.uint8)
    grey[16, 16] = 255
    turned = shifted(grey, HASHES[0], "rotation", 30.0)
    assert turned.min() == 90
    assert np.unravel_index(turned[..., 0].argmax(), (33, 33)) == (16, 16)


def test_photos_turn_either_way():
    turned = [shifted(PIXELS, f"{i:016x}", "rotation", 15.0) for i in range(12)]
    assert len({one.tobytes() for one in turned}) == 2


@pytest.mark.parametrize(("names", "message"), [(["blurr"], "not 'blurr'. Did you mean blur"), (["x"], "takes bright")])
def test_an_unknown_shift_is_refused(names, message):
    with pytest.raises(OptionError, match=message):
        shift_names(names)


@pytest.mark.parametrize("given", ["blur, noise,blur,", ["blur", "noise"]])
def test_shifts_are_named_in_a_list_or_with_commas(given):
    assert shift_names(given) == ["blur", "noise"]
    assert shift_names("") == []
