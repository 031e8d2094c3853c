"""Which photos a user means."""

import os

import pytest

from tlkit.data.gather import gather
from tlkit.errors import DataError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    names = ("b.JPG", "a.png", "sub/deep/c.webp", "sub/.hidden.png", ".git/d.png", "notes.txt", "__MACOSX/e.jpg")
    for name in names:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_files_are_taken_as_given_whether_they_exist_or_not():
    assert gather(["x.jpg", "gone.txt", "x.jpg"], [])[0] == ["x.jpg", "gone.txt", "x.jpg"]


def test_a_folder_gives_its_visible_images_at_any_depth_sorted(photos):
    assert gather(["photos"], [])[0] == ["photos/a.png", "photos/b.JPG", "photos/sub/deep/c.webp"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("photos/*.png", ["photos/a.png"]),
        (
            "photos/*",
            ["photos/__MACOSX/e.jpg", "photos/a.png", "photos/b.JPG", "photos/notes.txt", "photos/sub/deep/c.webp"],
        ),
        ("photos/**/*.webp", ["photos/sub/deep/c.webp"]),
        ("photos/[ab].*", ["photos/a.png", "photos/b.JPG"]),
    ],
)
def test_a_pattern_that_the_shell_left_alone_is_expanded(photos, pattern, found):
    assert gather([pattern], [])[0] == found


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(photos):
    (photos / "[1].png").touch()
    assert gather([f"{photos}/[1].png"], [])[0] == [f"{photos}/[1].png"]


def test_a_dash_reads_one_path_a_line(photos):
    lines = [b"x y.jpg\n", b"\n", b"photos/sub\r\n", "é.png".encode(), b"bad\xff.png\n"]
    expected = ["first.png", "x y.jpg", "photos/sub/deep/c.webp", "é.png", os.fsdecode(b"bad\xff.png")]
    assert gather(["first.png", "-"], lines)[0] == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("empty", r"The folder empty has no image files \(.bmp, .gif"),
        ("photos/*.tiff", r"No file matches photos/\*.tiff. Check the pattern"),
        ("-", "There is no path on standard input"),
        ("m.tflite", "m.tflite is a model, not a photo. Give it with: --model m.tflite"),
    ],
)
def test_what_holds_no_photo_is_refused(photos, tmp_path, given, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        gather([given], [b" \n"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everywhere")
def test_a_folder_that_cant_be_read_is_refused(photos):
    (photos / "sub").chmod(0)
    with pytest.raises(DataError, match="can't be read: Permission denied"):
        gather(["photos"], [])


def test_what_names_no_photo_spoils_nothing_for_the_others(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    found, problems = gather(["empty", "x.jpg", "*.tiff", "-"], [b"y.jpg\n", b"*.gif\n"])
    assert found == ["x.jpg", "y.jpg"]
    assert [problem.split(".")[0] for problem in problems] == [
        "The folder empty has no image files (",
        "No file matches *",
        "No file matches *",
    ]
