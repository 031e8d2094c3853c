"""What is found in a folder, what is passed over, what is reported, what is refused."""

import os
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from tlkit.data.discover import discover
from tlkit.data.inside import LEAVES
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
    photo().save(os.fsencode(root) + b"/\xfe.png")
    found = discover(root)
    assert reasons(found) == {
        "ants/broken.jpg": "a broken link, or not a regular file",
        "ants/pipe.jpg": "a broken link, or not a regular file",
        "bees/\\udcff.png": "its name is not valid UTF-8",
        "\\udcfe.png": "not in a class folder",
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
        (
            lambda root: (root / "a\nb").mkdir(),
            "its name has a character that is none, .*Rename it",
        ),
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a\\b", "separates folders. Rename it"),
        ("a\tb", "has a character that is none, such as a line break"),
        ("a\u202eb", "has a character that is none"),
        ("a\x7f", "has a character that is none"),
    ],
    ids=ascii,
)
def test_a_class_folder_whose_name_can_be_no_label_is_refused(make_folder, name, message):
    root = make_folder(classes=("a", "b", name), each=2)
    with pytest.raises(DataError, match=message):
        discover(root)


def test_odd_but_harmless_class_names_are_taken(make_folder):
    names = ("<script>alert(1)", "=1+1", "'; --", '"quoted"', "two words", "$(reboot)", "雪", "a..b", "con")
    assert set(discover(make_folder(classes=names, each=2)).classes) == set(names)


@pytest.mark.parametrize(
    "names",
    [("Ants", "ants"), (unicodedata.normalize("NFC", "Ä"), unicodedata.normalize("NFD", "Ä")), ("É", "e\u0301")],
    ids=["case", "composition", "both"],
)
def test_class_folders_that_other_systems_take_for_one_are_refused(make_folder, names):
    with pytest.raises(DataError, match="differ only in case or in how accents are encoded.*Rename one of them"):
        discover(make_folder(classes=(*names, "bees"), each=2))


@pytest.fixture
def elsewhere(tmp_path):
    """A folder of photos beside the data."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for i in range(3):
        coloured(3, i).save(folder / f"{i}.png")
    return folder


def test_links_that_leave_the_folder_are_reported_and_not_read(make_folder, elsewhere):
    root = make_folder(each=3)
    (root / "ants" / "secret.png").symlink_to(elsewhere / "0.png")
    (root / "bees" / "up.png").symlink_to("../../elsewhere/1.png")
    (root / "moths").symlink_to(elsewhere, target_is_directory=True)
    (root / "ants" / "more").symlink_to(elsewhere, target_is_directory=True)
    (root / "ants" / "self.png").symlink_to("self.png")
    found = discover(root)
    assert found.classes == ("ants", "bees", "wasps")
    assert reasons(found) == {
        "ants/secret.png": LEAVES,
        "bees/up.png": LEAVES,
        "moths": LEAVES,
        "ants/more": LEAVES,
        "ants/self.png": "a broken link, or not a regular file",
    }
    assert len(found.photos["all"]) == 9


def test_links_inside_the_folder_and_a_root_that_is_a_link_are_fine(make_folder, tmp_path):
    root = make_folder(each=3)
    coloured(0, 50).save(root / "spare.png")
    (root / "ants" / "linked.png").symlink_to("../spare.png")
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    for way in (root, tmp_path / "link"):
        found = discover(way)
        assert "ants/linked.png" in {photo.path for photo in found.photos["all"]}
        assert reasons(found) == {"spare.png": "not in a class folder"}


def test_splits_that_are_links_out_are_not_read(make_folder, tmp_path):
    make_folder("d/train", classes=("a", "b"), each=3)
    make_folder("other", classes=("a", "b"), each=3, first=20)
    (tmp_path / "d" / "test").symlink_to(tmp_path / "other", target_is_directory=True)
    (tmp_path / "d" / "val").mkdir()
    (tmp_path / "d" / "val" / "a").symlink_to(tmp_path / "other" / "a", target_is_directory=True)
    found = discover(tmp_path / "d")
    assert set(found.photos) == {"train"}
    assert reasons(found)["test"] == LEAVES


def test_when_every_class_or_photo_is_a_link_out_the_error_says_so(make_folder, tmp_path, elsewhere):
    root = tmp_path / "links"
    root.mkdir()
    for name in ("a", "b"):
        (root / name).symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(DataError, match="has no folders.*Left out: a, b: a link that leaves the folder: copy"):
        discover(root)
    root = make_folder(each=1)
    for path in list(root.rglob("*.png")):
        path.unlink()
        path.symlink_to(elsewhere / "0.png")
    with pytest.raises(DataError, match="Every photo in .* is a link that leaves the folder: copy its target"):
        discover(root)


def test_a_photo_whose_name_has_a_backslash_is_left_out(make_folder):
    root = make_folder(each=3)
    coloured(0, 50).save(root / "ants" / "a\\..\\x.png")
    assert reasons(discover(root)) == {
        "ants/a\\..\\x.png": "its name has a backslash, which separates folders on other systems"
    }
