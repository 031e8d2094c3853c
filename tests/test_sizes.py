"""Sizes as people write and read them."""

import pytest

from tlkit.errors import OptionError
from tlkit.sizes import bytes_in, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500MB", 500_000_000),
        ("20GB", 20_000_000_000),
        ("1.5TB", 1_500_000_000_000),
        ("32GiB", 32 * 2**30),
        ("4 kib", 4096),
        ("7b", 7),
    ],
)
def test_sizes_are_read_in_decimal_and_binary_units(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["20", "GB", "20XB", "-1GB", "0GB", "0.1B", "1e3GB", "20GB free", "", "nanGB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(OptionError, match="is no size. Write a number and a unit: 500MB, 20GB, 1.5TB or 32GiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (12_345_678, "12.3 MB"),
        (32 * 2**30, "34.4 GB"),
        (5e12, "5,000.0 GB"),
    ],
)
def test_sizes_are_written_in_decimal_units(size, text):
    assert size_text(size) == text


def test_a_folder_counts_its_files_and_follows_no_link(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"x" * 10)
    (tmp_path / "a" / "b" / "two").write_bytes(b"x" * 5)
    (tmp_path / "big").write_bytes(b"x" * 100_000)
    before = bytes_in(tmp_path / "a")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "big")
    assert before == 15
    assert bytes_in(tmp_path / "a") < 1000
    assert bytes_in(tmp_path / "gone") == 0
