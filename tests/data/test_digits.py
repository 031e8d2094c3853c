"""The embedded data set."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from tlkit.data.digits import IMAGES, digits_folder
from tlkit.data.discover import discover


def test_all_digits_are_there_as_files_with_the_levels_of_the_source():
    folder = digits_folder()
    found = discover(folder)
    assert found.classes == tuple("0123456789")
    assert len(found.photos["all"]) == IMAGES == 1797
    digits = load_digits()
    image = np.asarray(Image.open(folder / str(digits.target[17]) / "0017.png"))
    assert np.array_equal(np.round(image / 255 * 16), digits.images[17])


def test_they_are_written_once(monkeypatch):
    folder = digits_folder()
    before = (folder / "0" / "0000.png").stat().st_mtime_ns
    assert digits_folder() == folder
    assert (folder / "0" / "0000.png").stat().st_mtime_ns == before


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    import pytest

    from tlkit.errors import DataError

    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(Image.Image, "save", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(DataError, match="can't be written to .*No space left on device. Set TLKIT_CACHE"):
        digits_folder()
    assert list(tmp_path.iterdir()) == []
