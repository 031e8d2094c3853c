"""Splits: stratified, seeded, and no photo on both sides."""

import shutil

import pytest

from tlkit.data.discover import discover
from tlkit.data.split import split
from tlkit.errors import DataError


def photo_set(root, seed=0):
    return split(discover(root), seed=seed)


def hashes(photos):
    return {photo.sha256 for photo in photos}


def counts(photos):
    return [sum(p.label == label for p in photos) for label in range(3)]


def test_a_split_is_stratified(make_folder):
    photos = photo_set(make_folder(each=20))
    assert (counts(photos.train), counts(photos.val), counts(photos.test)) == ([14] * 3, [3] * 3, [3] * 3)


def test_the_parts_are_disjoint_and_complete(make_folder):
    photos = photo_set(make_folder(each=20))
    parts = [hashes(photos.train), hashes(photos.val), hashes(photos.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 60


def test_the_seed_decides_and_the_folder_order_does_not(make_folder, tmp_path):
    root = make_folder(each=20)
    copy = shutil.copytree(root, tmp_path / "copy")
    for i, path in enumerate(sorted(copy.rglob("*.png"))):
        path.rename(path.with_name(f"{(i * 37) % 101:03d}_{i}.png"))
    assert hashes(photo_set(root).test) == hashes(photo_set(copy).test)
    assert hashes(photo_set(root, 0).test) != hashes(photo_set(root, 1).test)


def test_three_photos_give_one_to_each_part(make_folder):
    photos = photo_set(make_folder(each=3))
    assert (counts(photos.train), counts(photos.val), counts(photos.test)) == ([1] * 3, [1] * 3, [1] * 3)


def test_identical_files_are_never_on_both_sides(make_folder):
    root = make_folder(each=8)
    for path in sorted((root / "ants").iterdir())[:6]:
        shutil.copy(path, path.with_name(f"copy_{path.name}"))
    photos = photo_set(root)
    assert not hashes(photos.train) & hashes(photos.held_out)
    assert [p.reason for p in photos.problems].count("the same photo as ants/000.png") == 1
    assert len(photos.train + photos.held_out) == 24


def test_a_copy_of_a_test_photo_is_taken_out_of_train(make_folder, tmp_path):
    train = make_folder("d/train", each=6)
    test = make_folder("d/test", each=4, first=20)
    shutil.copy(test / "ants" / "020.png", train / "ants" / "leak.png")
    photos = photo_set(tmp_path / "d")
    assert len(photos.test) == 12
    assert not hashes(photos.train + photos.val) & hashes(photos.test)
    assert [(p.path, p.reason) for p in photos.problems] == [
        ("train/ants/leak.png", "the same photo as test/ants/020.png")
    ]


def test_a_photo_filed_under_two_classes_is_left_out_of_both(make_folder):
    root = make_folder(each=6)
    shutil.copy(root / "ants" / "000.png", root / "bees" / "twin.png")
    photos = photo_set(root)
    assert {p.path for p in photos.problems} == {"ants/000.png", "bees/twin.png"}
    assert {p.reason for p in photos.problems} == {"the same photo is filed under ants and bees"}
    assert len(photos.train + photos.held_out) == 17


def test_a_missing_val_is_taken_from_train(make_folder, tmp_path):
    make_folder("d/train", each=20)
    make_folder("d/test", each=5, first=50)
    photos = photo_set(tmp_path / "d")
    assert (len(photos.train), len(photos.val), len(photos.test)) == (51, 9, 15)
    assert all(p.path.startswith("train/") for p in photos.val)


def test_test_is_optional(make_folder, tmp_path):
    make_folder("d/train", each=6)
    make_folder("d/val", each=3, first=50)
    photos = photo_set(tmp_path / "d")
    assert (len(photos.train), len(photos.val), len(photos.test)) == (18, 9, 0)


def test_two_photos_give_one_to_train_and_one_to_val(make_folder):
    photos = photo_set(make_folder(each=2))
    assert (counts(photos.train), counts(photos.val), counts(photos.test)) == ([1] * 3, [1] * 3, [0] * 3)


def test_photos_that_cant_be_divided_are_refused(make_folder):
    with pytest.raises(DataError, match="none can be held out for validation"):
        photo_set(make_folder(each=1))


def test_the_manifest_records_every_file(make_folder):
    photos = photo_set(make_folder(each=4))
    recorded = photos.to_split()
    assert set(recorded) == {"train", "val", "test"}
    assert recorded["train"][0] == {"path": photos.train[0].path, "label": 0, "sha256": photos.train[0].sha256}
