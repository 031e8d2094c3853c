"""The photos of a run and more of them: who keeps which part."""

import shutil
from pathlib import Path

import pytest

from tlkit.data.discover import discover
from tlkit.data.more import grown
from tlkit.data.split import split
from tlkit.errors import DataError
from tlkit.manifest_fields import PARTS

from ..conftest import coloured


def record(root):
    """What a run on a folder would record of its photos."""
    photos = split(discover(root), seed=0)
    data = {"kind": photos.kind, "root": str(root.absolute())}
    return {"task": "single_label", "classes": list(photos.classes), "data": data, "split": photos.to_split()}


def parts_of(photos):
    return {photo.sha256: name for name in ("train", "val", "test") for photo in getattr(photos, name)}


def recorded_parts(manifest):
    return {photo["sha256"]: name for name, photos in manifest["split"].items() for photo in photos}


def grow(manifest, root, **options):
    return grown(manifest, discover(root, least=1), seed=0, **options)


def check(found):
    """Every path leads to its file, and is one that a manifest may hold."""
    photos = found.photos
    for part in (photos.train, photos.val, photos.test):
        for photo in part:
            assert (photos.root / photo.path).is_file()
    whole = {"task": "single_label", "classes": list(photos.classes), "split": photos.to_split()}
    assert PARTS["split"](whole) is None


def test_what_the_run_had_keeps_its_part_and_the_rest_is_split_by_the_rule(make_folder):
    manifest = record(make_folder(each=20))
    more = make_folder("more", classes=("ants", "bees"), each=24, first=16)  # four of each the run had
    found = grow(manifest, more)
    assert (found.known, found.added, found.new_classes, found.corrected) == (8, 40, (), 0)
    before, after = recorded_parts(manifest), parts_of(found.photos)
    assert {sha256: after[sha256] for sha256 in before} == before
    new = [name for sha256, name in after.items() if sha256 not in before]
    assert (new.count("train"), new.count("val"), new.count("test")) == (28, 6, 6)
    check(found)


def test_new_classes_come_behind_the_old_ones_sorted(make_folder):
    manifest = record(make_folder(classes=("bees", "wasps"), each=10))
    found = grow(manifest, make_folder("more", classes=("zebras", "wasps", "ants"), each=10, first=50))
    assert found.photos.classes == ("bees", "wasps", "ants", "zebras")
    assert found.new_classes == ("ants", "zebras")
    for part in (found.photos.train, found.photos.val, found.photos.test):
        assert all(found.photos.classes[p.label] == Path(p.path).parent.name for p in part)
        assert {p.label for p in part} == {0, 1, 2, 3}


def test_one_folder_with_one_class_is_enough(make_folder):
    manifest = record(make_folder(classes=("ants", "bees"), each=6))
    found = grow(manifest, make_folder("more", classes=("wasps",), each=6, first=90))
    assert found.photos.classes == ("ants", "bees", "wasps")


def test_the_runs_own_folder_may_hold_the_new_ones(make_folder):
    root = make_folder(classes=("ants", "bees"), each=20)
    manifest = record(root)
    make_folder(classes=("ants", "bees", "wasps"), each=10, first=20)
    found = grow(manifest, root)
    assert (found.known, found.added, found.photos.root) == (40, 30, root.resolve())
    assert parts_of(found.photos).items() >= recorded_parts(manifest).items()
    check(found)


def test_a_renamed_folder_is_known_by_its_contents(make_folder):
    root = make_folder(classes=("ants", "bees"), each=10)
    manifest = record(root)
    make_folder(classes=("wasps",), each=10, first=50)
    moved = root.rename(root.with_name("insects"))
    found = grow(manifest, moved)
    assert parts_of(found.photos).items() >= recorded_parts(manifest).items()
    check(found)


def test_photos_that_were_tested_on_are_not_trained_on_though_more_says_train(make_folder, tmp_path):
    root = make_folder(classes=("ants", "bees"), each=20)
    manifest = record(root)
    more = tmp_path / "more"
    shutil.copytree(root, more / "train")
    make_folder("more/test", classes=("ants", "bees"), each=5)  # of which the run trained on most
    make_folder("more/train", classes=("ants", "bees"), each=5, first=70)
    found = grow(manifest, more)
    assert found.added == 10
    assert parts_of(found.photos).items() >= recorded_parts(manifest).items()


def test_a_photo_that_was_moved_to_another_class_gets_that_one(make_folder):
    root = make_folder(classes=("ants", "bees"), each=10)
    manifest = record(root)
    wrong = manifest["split"]["test"][0]
    (root / wrong["path"]).rename(root / "bees" / "was_wrong.png")
    found = grow(manifest, root)
    assert (found.added, found.corrected) == (0, 1)
    (now,) = [photo for photo in found.photos.test if photo.sha256 == wrong["sha256"]]
    assert (now.path, now.label) == ("bees/was_wrong.png", 1)


def test_a_photo_under_two_classes_is_left_out(make_folder, tmp_path):
    root = make_folder(classes=("ants", "bees"), each=10)
    manifest = record(root)
    more = make_folder("more", classes=("bees",), each=10, first=30)
    shutil.copy(root / "ants/003.png", more / "bees/copy.png")
    found = grow(manifest, more)
    assert len(parts_of(found.photos)) == 29
    assert ("photos/ants/003.png", "the same photo is filed under ants and bees") in [
        (problem.path, problem.reason) for problem in found.photos.problems
    ]


def test_what_can_not_be_used_is_named_below_the_common_root(make_folder):
    manifest = record(make_folder(each=6))
    more = make_folder("more", each=4, first=60)
    (more / "ants/notes.txt").write_text("no photo")
    (problem,) = grow(manifest, more).photos.problems
    assert problem.path == "more/ants/notes.txt"


def test_photos_that_are_gone_are_an_error_that_says_how_to_name_their_place(make_folder, tmp_path):
    root = make_folder(each=6)
    manifest = record(root)
    more = make_folder("more", each=6, first=60)
    moved = root.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"18 of 18 photos of this run are not in .*photos any more.*--parent-data NEW"):
        grow(manifest, more)
    found = grow(manifest, more, old_root=moved)
    assert parts_of(found.photos).items() >= recorded_parts(manifest).items()
    with pytest.raises(DataError, match="There is no folder nowhere. Give --parent-data"):
        grow(manifest, more, old_root="nowhere")
    coloured(3, 3).save(moved / "ants/000.png")
    with pytest.raises(DataError, match="1 of 18 photos of this run are nowhere in"):
        grow(manifest, more, old_root=moved)


def test_names_that_differ_only_in_case_are_an_error(make_folder):
    manifest = record(make_folder(classes=("ants", "bees"), each=6))
    with pytest.raises(DataError, match="The class 'Ants' in .*more and the run's class 'ants' differ only in case"):
        grow(manifest, make_folder("more", classes=("Ants",), each=6, first=60))


def test_nothing_new_is_an_error(make_folder):
    root = make_folder(each=6)
    with pytest.raises(DataError, match="Nothing in .*photos is new: the run had all 18 of its photos"):
        grow(record(root), root)


def test_a_new_class_of_copies_is_an_error(make_folder, tmp_path):
    root = make_folder(classes=("ants", "bees"), each=6)
    manifest = record(root)
    shutil.copytree(root / "ants", tmp_path / "more/wasps")
    make_folder("more", classes=("bees",), each=6, first=60)
    with pytest.raises(DataError, match="No photo of class 'ants' is left to train on"):
        grow(manifest, tmp_path / "more")


def test_few_photos_are_trained_on_and_not_refused(make_folder):
    manifest = record(make_folder(classes=("ants", "bees"), each=10))
    found = grow(manifest, make_folder("more", classes=("ants",), each=1, first=60))
    assert found.added == 1
    assert len(found.photos.train) == len(manifest["split"]["train"]) + 1


def test_a_folder_whose_path_no_manifest_may_hold_is_an_error(make_folder):
    manifest = record(make_folder(each=6))
    with pytest.raises(DataError, match=r"can't be recorded: its path has a backslash. Rename it"):
        grow(manifest, make_folder("mo\\re", each=6, first=60))
