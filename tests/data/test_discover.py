"""What is found in a folder, what is passed over, what is reported, what is refused."""

import os
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from tlkit.data.discover import discover
from tlkit.errors import DataError

from ..conftest import coloured, mutated_images, photo


def reasons(folder):
    return {problem.path: problem.reason for problem in folder.problems}


def test_classes_are_sorted_by_name(make_folder):
    root = make_folder(classes=("b", "Ä", "a10", "a2", "C"))
    assert discover(root).classes == ("C", "a10", "a2", "b", "Ä")


def test_every_photo_has_path_label_and_hash(make_folder):
    found = discover(make_folder(each=4))
    assert found.kind == "classes"
    assert len(found.photos["all"]) == 12
    first = found.photos["all"][0]
    assert (first.path, first.label, len(first.sha256)) == ("ants/000.png", 0, 64)
    assert found.problems == []


def test_folder_names_that_say_so_make_splits(make_folder, tmp_path):
    for split in ("Train", "validation", "test"):
        make_folder(f"d/{split}", classes=("a", "b"), each=3, first=hash(split) % 50)
    found = discover(tmp_path / "d")
    assert found.kind == "splits"
    assert {name: len(photos) for name, photos in found.photos.items()} == {"train": 6, "val": 6, "test": 6}
    assert found.photos["val"][0].path.startswith("validation/a/")


def test_a_folder_beside_the_splits_is_reported(make_folder, tmp_path):
    make_folder("d/train", classes=("a", "b"), each=3)
    make_folder("d/unlabelled", classes=("x",), each=1)
    found = discover(tmp_path / "d")
    assert (found.kind, found.classes) == ("splits", ("a", "b"))
    assert reasons(found) == {"unlabelled": "not in a class folder"}


def test_a_class_of_trains_is_a_class(make_folder):
    found = discover(make_folder(classes=("train", "test")))
    assert (found.kind, found.classes) == ("classes", ("test", "train"))


def test_hidden_files_and_litter_are_passed_over_in_silence(make_folder):
    root = make_folder(each=3)
    for name in (".DS_Store", "ants/.DS_Store", "ants/._000.png", "ants/Thumbs.db", "bees/desktop.ini"):
        (root / name).write_bytes(b"x")
    (root / "__MACOSX").mkdir()
    (root / ".git").mkdir()
    found = discover(root)
    assert found.classes == ("ants", "bees", "wasps")
    assert found.problems == []


def test_every_kind_of_photo_is_taken(make_folder):
    root = make_folder(each=2)
    folder = root / "ants"
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(1).save(folder / "a.jpg", exif=exif)
    photo(2).convert("CMYK").save(folder / "b.JPEG")
    photo(3).convert("L").save(folder / "c.png")
    photo(4).quantize(16).save(folder / "d.gif")
    photo(5).convert("RGBA").save(folder / "e.webp")
    photo(6).save(folder / "f.bmp")
    Image.fromarray(np.asarray(photo(7).convert("L")).astype(np.uint16) * 256).save(folder / "g.png")
    photo(8).save(folder / "фото 雪.png")
    photo(9).save(folder / (unicodedata.normalize("NFD", "é") + ".png"))
    photo(10).save(folder / "no_extension", format="PNG")
    found = discover(root)
    assert found.problems == []
    assert sum(p.label == 0 for p in found.photos["all"]) == 12


def test_files_that_cant_be_used_are_reported_by_name_and_left_out(make_folder):
    root = make_folder(each=3)
    (root / "ants" / "empty.jpg").write_bytes(b"")
    (root / "ants" / "notes.txt").write_text("hello")
    coloured(0, 99, (300, 300)).save(root / "bees" / "cut.jpg")
    cut = root / "bees" / "cut.jpg"
    cut.write_bytes(cut.read_bytes()[:3000])
    (root / "readme.md").write_text("hello")
    (root / "ants" / "more").mkdir()
    found = discover(root)
    assert reasons(found)["ants/empty.jpg"] == "empty file"
    assert reasons(found)["ants/notes.txt"] == "not a JPEG, PNG, BMP, GIF or WebP image"
    assert reasons(found)["bees/cut.jpg"].startswith("damaged image")
    assert reasons(found)["readme.md"] == "not in a class folder"
    assert reasons(found)["ants/more"] == "not in a class folder"
    assert len(found.photos["all"]) == 9


def test_links_to_nothing_pipes_and_names_that_are_no_text_are_reported(make_folder):
    root = make_folder(each=3)
    (root / "ants" / "broken.jpg").symlink_to(root / "nowhere.jpg")
    os.mkfifo(root / "ants" / "pipe.jpg")
    photo().save(os.fsencode(root / "bees") + b"/\xff.png")
    found = discover(root)
    assert reasons(found) == {
        "ants/broken.jpg": "a broken link, or not a regular file",
        "ants/pipe.jpg": "a broken link, or not a regular file",
        "bees/\\udcff.png": "its name is not valid UTF-8",
    }


def test_runs_made_beside_the_photos_are_no_class(make_folder):
    root = make_folder(each=3)
    (root / "runs" / "a").mkdir(parents=True)
    (root / "runs" / "a" / "run.json").write_text("{}")
    assert discover(root).classes == ("ants", "bees", "wasps")


def test_strict_makes_them_an_error(make_folder):
    root = make_folder(each=3)
    (root / "ants" / "empty.jpg").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"1 files in .* can't be used, and --strict was given:\n  ants/empty.jpg: empty"
    ):
        discover(root, strict=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: shutil.rmtree(root), "There is no folder .*photos. Give --data a folder"),
        (lambda root: (shutil.rmtree(root), root.write_text("x")), "photos is a file"),
        (lambda root: [shutil.rmtree(p) for p in root.iterdir()], "has no folders. A classifier needs at least 2"),
        (lambda root: [shutil.rmtree(root / n) for n in ("bees", "wasps")], "has only one class, 'ants'"),
        (lambda root: [p.write_bytes(b"") for p in root.rglob("*.png")], "No file in .* is a readable image"),
        (lambda root: [p.write_bytes(b"") for p in root.glob("bees/*")], "No usable photo in class bees"),
        (lambda root: (root / "a\nb").mkdir(), "has a character that is none. Rename it"),
    ],
    ids=["missing", "a file", "empty", "one class", "nothing readable", "an empty class", "a line break"],
)
def test_a_folder_that_cant_be_learned_from_is_refused(make_folder, spoil, message):
    root = make_folder(each=2)
    spoil(root)
    with pytest.raises(DataError, match=message):
        discover(root)


def test_splits_without_train_are_refused(make_folder, tmp_path):
    make_folder("d/val", each=2)
    make_folder("d/test", each=2)
    with pytest.raises(DataError, match="has test, val but no train folder"):
        discover(tmp_path / "d")


def test_two_folders_for_one_split_are_refused(make_folder, tmp_path):
    for name in ("train", "val", "valid"):
        make_folder(f"d/{name}", each=2)
    with pytest.raises(DataError, match="two folders for val: val and valid"):
        discover(tmp_path / "d")


def test_a_class_that_train_has_not_is_refused(make_folder, tmp_path):
    make_folder("d/train", each=2)
    make_folder("d/test", classes=("ants", "moths"), each=2)
    with pytest.raises(DataError, match="test has classes that train has not: moths"):
        discover(tmp_path / "d")


KNOWN = ("wasps", "ants", "bees", "moths")


def test_folders_are_matched_with_known_classes_by_name(make_folder):
    root = make_folder(classes=("ants", "wasps"), each=3)
    found = discover(root, known=KNOWN)
    assert (found.root, found.kind, found.classes) == (root, "classes", KNOWN)
    assert [(photo.path.split("/")[0], photo.label) for photo in found.photos["all"]] == [("wasps", 0)] * 3 + [
        ("ants", 1)
    ] * 3


def test_one_of_the_known_classes_is_enough(make_folder):
    assert len(discover(make_folder(classes=("bees",), each=2), known=KNOWN).photos["all"]) == 2


@pytest.mark.parametrize(("splits", "taken"), [("train val test", "test"), ("train valid", "valid"), ("test", "test")])
def test_of_splits_the_held_out_one_is_taken_and_the_others_not_read(make_folder, splits, taken):
    for name in splits.split():
        make_folder(f"photos/{name}", classes=("ants", "bees"), each=2)
    root = make_folder(f"photos/{taken}", classes=("moths",), each=1).parent
    found = discover(root, known=KNOWN)
    assert found.root == root / taken
    assert len(found.photos["all"]) == 5
    assert found.problems == []


def test_a_folder_that_is_no_known_class_is_refused(make_folder):
    root = make_folder(classes=("ants", "bee", "crabs"), each=1)
    with pytest.raises(DataError, match=r"no class of the model: bee, crabs. Did you mean bees\? .*knows: wasps, ants"):
        discover(root, known=KNOWN)


def test_photos_without_class_folders_cant_be_matched(make_folder, tmp_path):
    root = make_folder(classes=("ants",), each=1)
    with pytest.raises(DataError, match="has no folders. Give a folder with one folder of photos for each class"):
        discover(root / "ants", known=KNOWN)
    make_folder("split/train", classes=("ants", "bees"), each=1)
    with pytest.raises(DataError, match=r"has train but no test or val folder: .* such as .*split/train"):
        discover(tmp_path / "split", known=KNOWN)
    (root / "ants" / "000.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"No file in .* is a readable image.\n  ants/000.png: empty file"):
        discover(root, known=KNOWN)


def test_mutated_photos_are_used_or_left_out_and_nothing_else(tmp_path):
    for i, content in enumerate(mutated_images(2000)):
        path = tmp_path / "photos" / "ab"[i // 4 % 2] / f"{i:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    found = discover(tmp_path / "photos")
    assert len(found.photos["all"]) + len(found.problems) == 2000
    assert 100 < len(found.problems) < 1900
