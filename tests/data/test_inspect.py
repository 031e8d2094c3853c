"""What an inspection finds, in folders with one thing wrong, and in real ones."""

import shutil

import pytest
from PIL import Image

from tlkit.data.discover import discover
from tlkit.data.inspect import inspect
from tlkit.data.split import split
from tlkit.errors import DataError, OptionError

from ..conftest import scene


@pytest.fixture
def folder(tmp_path):
    """`<tmp>/photos/{ants,bees}/*.png`: 12 different photos of each class, 160 x 120."""
    for label, name in enumerate(("ants", "bees")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            scene(50 * label + i).save(tmp_path / "photos" / name / f"{i:02d}.png")
    return tmp_path / "photos"


@pytest.fixture
def splits(folder, tmp_path):
    """The same photos as train, val and test."""
    for i, part in enumerate(("train", "val", "test")):
        for name in ("ants", "bees"):
            (tmp_path / "splits" / part / name).mkdir(parents=True)
            for path in sorted((folder / name).iterdir())[4 * i : 4 * i + 4]:
                shutil.copy(path, tmp_path / "splits" / part / name)
    return tmp_path / "splits"


def groups(found):
    return [(group.kind, group.paths) for group in found.groups]


def test_nothing_is_found_where_nothing_is_wrong(folder):
    found = inspect(folder, input_size=96)
    assert (found.photos, found.layout, found.imbalance) == (24, "classes", 1.0)
    assert found.counts == {"ants": {"all": 12}, "bees": {"all": 12}}
    assert found.harms() == []
    assert (found.groups, found.unusable, found.odd_sizes, found.tiny, found.odd_colours, found.flat) == ((),) * 6
    assert (found.grey, found.turned, found.leaks.paths, found.advice()) == (0, 0, (), None)
    assert found.sizes == {"width": (160, 160, 160), "height": (120, 120, 120)}


def test_counts_are_by_class_and_split(splits):
    found = inspect(splits)
    assert found.layout == "splits"
    assert found.counts["ants"] == {"train": 4, "val": 4, "test": 4}


def test_imbalance_is_that_of_train_and_has_advice(splits):
    for path in sorted((splits / "train" / "bees").iterdir())[1:]:
        path.unlink()
    found = inspect(splits)
    assert found.imbalance == 4
    assert "4.0 times the photos of the smallest: train with --class-weight auto" in found.advice()


def test_what_discovery_leaves_out_is_told_with_its_reason(folder):
    (folder / "ants" / "empty.jpg").write_bytes(b"")
    (folder / "readme.txt").write_text("hello")
    found = inspect(folder)
    assert [(one.path, one.reason) for one in found.unusable] == [
        ("ants/empty.jpg", "empty file"),
        ("readme.txt", "not in a class folder"),
    ]
    assert found.harms() == ["files that can't be used: 2"]


def test_copies_within_a_class_are_told_and_harm_nothing(folder):
    shutil.copy(folder / "ants" / "00.png", folder / "ants" / "again.png")
    found = inspect(folder)
    assert groups(found) == [("copies", ("ants/00.png", "ants/again.png"))]
    assert found.harms() == []  # finetune keeps one of them


def test_a_copy_in_another_split_harms(splits):
    shutil.copy(splits / "train" / "ants" / "00.png", splits / "test" / "ants" / "copy.png")
    found = inspect(splits)
    assert groups(found) == [("copies", ("test/ants/copy.png", "train/ants/00.png"))]
    assert found.groups[0].splits == ("test", "train")
    assert found.harms() == ["pictures in several splits: 1"]
    assert found.leaks.paths == ()  # finetune takes the copy out of train


def test_a_smaller_recompressed_photo_in_another_split_leaks(splits):
    scene(0).resize((120, 90)).save(splits / "test" / "ants" / "small.jpg", quality=70)
    found = inspect(splits)
    assert groups(found) == [("near", ("test/ants/small.jpg", "train/ants/00.png"))]
    assert 0.98 <= found.groups[0].similarity < 1
    assert found.leaks.paths == ("test/ants/small.jpg",)
    assert (found.leaks.automatic, found.leaks.held_out) == (False, 17)
    assert inspect(splits, near_percent=100).groups == ()


def test_a_mirrored_photo_in_another_split_leaks(splits):
    scene(0).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(splits / "val" / "ants" / "left.png")
    found = inspect(splits)
    assert groups(found) == [("mirrored", ("train/ants/00.png", "val/ants/left.png"))]
    assert found.leaks.paths == ("val/ants/left.png",)


@pytest.mark.parametrize("name, quality", [("same.png", None), ("similar.jpg", 60)])
def test_one_picture_with_two_labels_is_a_conflict(folder, name, quality):
    source = folder / "ants" / "03.png"
    if quality:
        Image.open(source).save(folder / "bees" / name, quality=quality)
    else:
        shutil.copy(source, folder / "bees" / name)
    (conflict,) = inspect(folder).conflicts
    assert conflict.paths == ("ants/03.png", f"bees/{name}")
    assert conflict.classes == ("ants", "bees")
    assert "pictures with several labels: 1" in inspect(folder).harms()


def test_conflicts_come_first_and_a_group_holds_every_copy(folder):
    shutil.copy(folder / "ants" / "00.png", folder / "ants" / "again.png")
    Image.open(folder / "ants" / "00.png").save(folder / "ants" / "near.jpg", quality=70)
    shutil.copy(folder / "ants" / "05.png", folder / "bees" / "05 too.png")
    assert groups(inspect(folder)) == [
        ("copies", ("ants/05.png", "bees/05 too.png")),
        ("copies", ("ants/00.png", "ants/again.png")),
        ("near", ("ants/00.png", "ants/again.png", "ants/near.jpg")),
    ]


def test_without_split_folders_the_automatic_split_is_tried(folder):
    for i in range(12):
        Image.open(folder / "ants" / f"{i:02d}.png").save(folder / "ants" / f"{i:02d}.jpg", quality=80)
    found = inspect(folder)
    parts = split(discover(folder), seed=0)
    trained = {photo.path.partition(".")[0] for photo in parts.train}
    expected = sorted(photo.path for photo in parts.held_out if photo.path.partition(".")[0] in trained)
    assert len(expected) > 1
    assert found.leaks.automatic
    assert list(found.leaks.paths) == expected
    assert found.leaks.held_out == len(parts.held_out)
    assert found.harms() == [f"held-out photos with a near duplicate in train: {len(expected)}"]


def test_too_few_photos_to_split_are_inspected_all_the_same(tmp_path):
    for label, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        scene(label).save(tmp_path / name / "one.png")
    assert inspect(tmp_path).leaks is None


def test_odd_sizes_and_tiny_photos_are_told(folder):
    scene(200, (700, 500)).save(folder / "ants" / "large.png")
    scene(201, (300, 60)).save(folder / "bees" / "panorama.png")
    scene(202, (120, 160)).save(folder / "bees" / "upright.png")
    found = inspect(folder, input_size=100)
    assert [(one.path, one.reason) for one in found.odd_sizes] == [
        ("ants/large.png", "700 x 500: 18.2 times larger than most"),
        ("bees/panorama.png", "300 x 60: sides 5.0 : 1, most 1.3 : 1"),
    ]
    assert found.tiny == ("bees/panorama.png",)


def test_sizes_that_vary_much_are_not_odd(folder):
    for i in range(12):
        scene(300 + i, (80 * 2 ** (i % 4), 60 * 2 ** (i % 4))).save(folder / "ants" / f"{i:02d}.png")
        scene(400 + i, (80 * 2 ** (i % 4), 60 * 2 ** (i % 4))).save(folder / "bees" / f"{i:02d}.png")
    assert inspect(folder).odd_sizes == ()


def test_grey_photos_among_colour_ones_are_told_and_the_other_way_round(folder):
    Image.open(folder / "ants" / "00.png").convert("L").save(folder / "ants" / "00.png")
    found = inspect(folder)
    assert (found.grey, found.odd_colours) == (1, ("ants/00.png",))
    for path in sorted(folder.glob("*/*"))[1:-2]:
        Image.open(path).convert("L").convert("RGB").save(path)
    found = inspect(folder)
    assert (found.grey, found.odd_colours) == (22, ("bees/10.png", "bees/11.png"))


def test_photos_of_one_colour_are_told_and_are_no_duplicates(folder):
    for i in range(3):
        Image.new("RGB", (160, 120), (10 * i, 0, 0)).save(folder / "bees" / f"black{i}.png")
    found = inspect(folder)
    assert found.flat == ("bees/black0.png", "bees/black1.png", "bees/black2.png")
    assert found.groups == ()


def test_a_photo_that_exif_turns_has_the_size_that_is_seen(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = scene(0).transpose(Image.Transpose.ROTATE_90)
    turned.save(folder / "ants" / "turned.jpg", exif=exif, quality=95)
    found = inspect(folder)
    assert found.turned == 1
    assert found.sizes == {"width": (160, 160, 160), "height": (120, 120, 120)}
    assert groups(found) == [("near", ("ants/00.png", "ants/turned.jpg"))]


def test_every_photo_is_read_once(folder, monkeypatch):
    from tlkit import preprocess

    reads = []
    real = preprocess.read_file
    monkeypatch.setattr(preprocess, "read_file", lambda path: reads.append(path) or real(path))
    inspect(folder)
    assert sorted(reads) == sorted(folder.glob("*/*.png"))


def test_an_interruption_ends_after_the_photos_under_way(folder, monkeypatch):
    from tlkit.data import discover as module

    seen = []
    monkeypatch.setattr(module, "_AT_ONCE", 4)
    real = module.check_image

    def read(path):
        seen.append(path)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return real(path)

    with pytest.raises(KeyboardInterrupt):
        discover(folder, read=read)
    assert len(seen) <= 4


@pytest.mark.parametrize("percent", [89.9, 100.5, float("nan")])
def test_a_percentage_out_of_range_is_refused(folder, percent):
    with pytest.raises(OptionError, match=r"--near takes a percentage from 90 to 100, not .* exact copies only"):
        inspect(folder, near_percent=percent)


@pytest.mark.parametrize("size", [0, 5000])
def test_an_input_size_out_of_range_is_refused(folder, size):
    with pytest.raises(OptionError, match=f"--input-size takes 1 to 2048, not {size}"):
        inspect(folder, input_size=size)


def test_what_finetune_refuses_is_refused_in_the_same_words(tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        inspect(tmp_path / "nowhere")


@pytest.mark.real_data
def test_what_was_put_among_real_photos_is_found_and_nothing_else(shared, tmp_path):
    root = tmp_path / "ants_bees"
    shutil.copytree(shared / "data" / "ants_bees", root)
    ants, bees = (sorted((root / "train" / name).iterdir()) for name in ("ants", "bees"))
    shutil.copy(ants[0], root / "test" / "ants" / "copy.jpg")
    image = Image.open(ants[1])
    image.resize((image.width * 2 // 3, image.height * 2 // 3)).save(root / "test" / "ants" / "small.jpg", quality=60)
    Image.open(ants[2]).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "test" / "ants" / "mirrored.png")
    Image.open(bees[0]).save(root / "train" / "ants" / "swapped.jpg", quality=80)
    found = inspect(root)
    name = {path: f"train/{path.parent.name}/{path.name}" for path in (*ants, *bees)}
    assert groups(found) == [
        ("near", ("train/ants/swapped.jpg", name[bees[0]])),
        ("copies", ("test/ants/copy.jpg", name[ants[0]])),
        ("mirrored", ("test/ants/mirrored.png", name[ants[2]])),
        ("near", ("test/ants/small.jpg", name[ants[1]])),
    ]
    leaked = {"test/ants/mirrored.png", "test/ants/small.jpg"}  # and the swapped one, if it falls to val
    assert leaked <= set(found.leaks.paths) <= {*leaked, "train/ants/swapped.jpg", name[bees[0]]}
    assert found.grey == 2


@pytest.mark.real_data
def test_hands_before_one_wall_are_not_taken_for_each_other(shared):
    found = inspect(shared / "data" / "sign_digits", input_size=96)
    assert (found.photos, found.groups, found.tiny) == (2062, (), ())
