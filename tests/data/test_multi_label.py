"""Tables that give a photo any number of labels, and how such photos are split."""

import numpy as np
import pytest

from tlkit.data.calibration import choose
from tlkit.data.discover import Folder, Photo
from tlkit.data.find import find_photos
from tlkit.data.multi_label import label_array, labels_of, take_evenly
from tlkit.data.recorded import photos_of
from tlkit.data.split import split
from tlkit.errors import DataError
from tlkit.progress import Progress

from ..conftest import photo

NAMES = ("ants", "bees", "wasps")
CELLS = ("ants", "ants|bees", "", "wasps|ants", "bees", "wasps")


@pytest.fixture
def table(tmp_path):
    """Writes a table, and the photos 0.png, 1.png ... that it may list."""
    for i in range(len(CELLS)):
        photo(i, (12, 12)).save(tmp_path / f"{i}.png")

    def write(text, name="labels.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def listed_labels(path, **options):
    folder = find_photos(path, multi_label=True, **options)
    return folder.classes, {one.path: labels_of(one) for part in folder.photos.values() for one in part}


def lines(cells, header="path,label"):
    return "\n".join([header, *(f'{i}.png,"{cell}"' for i, cell in enumerate(cells))]) + "\n"


WANTED = {"0.png": (0,), "1.png": (0, 1), "2.png": (), "3.png": (0, 2), "4.png": (1,), "5.png": (2,)}


@pytest.mark.parametrize("column", ["label", "labels", "Tags", "class_names"])
def test_labels_stand_in_one_cell(table, column):
    assert listed_labels(table(lines(CELLS, f"path,{column}"))) == (NAMES, WANTED)


def test_semicolons_white_space_repetitions_and_empty_parts_do_not_matter(table):
    cells = ("ants", "bees ; ants;ants", "", "wasps;ants;", "bees", "wasps")
    assert listed_labels(table(lines(cells))) == (NAMES, WANTED)


def test_a_column_of_0_and_1_for_each_class_says_the_same(table):
    rows = ["path,wasps,ants,bees", "0.png,0,1,0", "1.png,0,1,1", "2.png,0,0,0", "3.png,1,1,0"]
    rows += ["4.png,0,0,1", "5.png,1,0,0"]
    assert listed_labels(table("\n".join(rows))) == (NAMES, WANTED)
    with_split = [f"{row},{'split' if i == 0 else 'train'}" for i, row in enumerate(rows)]
    assert listed_labels(table("\n".join(with_split))) == (NAMES, WANTED)


def test_a_model_knows_the_order_of_its_classes(table):
    _, labels = listed_labels(table(lines(CELLS)), known=("wasps", "bees", "ants"))
    assert labels["3.png"] == (0, 2) and labels["1.png"] == (1, 2)


REFUSED = {
    "two separators": (
        lines(("ants|bees", "ants;bees")),
        r"labels.csv has labels with '\|' \(labels.csv, line 2\) and",
    ),
    "a comma": (
        lines(("ants,bees", "bees")),
        "line 2 has the label 'ants,bees': a comma does not stand between labels",
    ),
    "no columns": ("path,split\n0.png,train\n", "says nothing of labels: it needs a column called label"),
    "no 0 or 1": ("path,ants,bees\n0.png,1,2\n", "line 2 has '2' in the column 'bees'. With --multi-label"),
    "a column twice": ("path,ants,ants\n0.png,1,0\n", "has the column 'ants' twice. Remove one"),
    "one class": (lines(("ants", "")), "has only one label, 'ants'. A classifier needs at least 2 classes"),
    "no photo": ("path,label\n0.png,ants\nmissing.png,bees|ants\n", "No usable photo in class bees"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_read_in_one_way_is_refused(table, text, message):
    with pytest.raises(DataError, match=message):
        find_photos(table(text), multi_label=True)


def test_several_labels_in_a_cell_are_taken_as_one_with_a_hint(table):
    said = []

    class Hearing(Progress):
        def warn(self, text):
            said.append(text)

    path = table(lines(("ants", "ants|bees")))
    assert find_photos(path, progress=Hearing()).classes == ("ants", "ants|bees")
    assert said == [f"{path} has labels with '|', taken as one. Where it stands between labels, say --multi-label."]


def test_labels_that_the_model_does_not_know_are_refused(table):
    with pytest.raises(DataError, match="no class of the model: wasps"):
        find_photos(table(lines(CELLS)), multi_label=True, known=("ants", "bees"))


def test_a_folder_can_not_give_a_photo_several_labels(make_folder):
    with pytest.raises(DataError, match="is not a table, and only a table can give a photo several labels"):
        find_photos(make_folder(each=2), multi_label=True)


def several(photos, classes=6, seed=0, share=0.25):
    random = np.random.default_rng(seed)
    return [
        Photo(
            f"{i:04d}.png", -1, f"{random.integers(2**60):x}", labels=tuple(np.flatnonzero(random.random(classes) < p))
        )
        for i, p in ((i, np.linspace(0.02, share, classes)) for i in range(photos))
    ]


def test_every_class_is_split_alike():
    photos = several(1000)
    kept, taken = take_evenly(photos, 0.15, seed=0, least=2)
    assert sorted(kept + taken, key=lambda one: one.path) == photos
    counts, found = (label_array(part, 6).sum(axis=0) for part in (photos, taken))
    assert np.abs(found - 0.15 * counts).max() <= 3
    assert abs(len(taken) - 150) <= 15
    without = sum(not one.labels for one in photos)
    assert abs(sum(not one.labels for one in taken) - 0.15 * without) <= 0.1 * without


def test_the_split_is_seeded_and_does_not_depend_on_the_order():
    photos = several(200)
    assert take_evenly(photos, 0.2, seed=1, least=2) == take_evenly(photos[::-1], 0.2, seed=1, least=2)
    assert take_evenly(photos, 0.2, seed=1, least=2) != take_evenly(photos, 0.2, seed=2, least=2)


@pytest.mark.parametrize("seed", range(20))
def test_no_class_is_missing_in_what_is_trained_on(seed):
    photos = several(24, classes=8, seed=seed, share=0.3)
    there = label_array(photos, 8).any(axis=0)
    kept, _ = take_evenly(photos, 0.5, seed=seed, least=2)
    assert (label_array(kept, 8).any(axis=0) == there).all()


def test_a_run_records_all_labels_and_finds_them_again():
    photos = several(60, classes=3)
    folder = Folder(root=None, kind="classes", classes=NAMES, photos={"all": photos}, problems=[])
    found = split(folder, seed=0)
    assert found.multi_label
    manifest = {"split": found.to_split()}
    assert photos_of(manifest, "train", "val", "test") == [*found.train, *found.val, *found.test]
    assert all(set(entry) == {"path", "labels", "sha256"} for entry in manifest["split"]["train"])


def test_copies_with_other_labels_are_left_out():
    photos = [*several(60, classes=3), Photo("x.png", -1, "same", labels=(0,)), Photo("y.png", -1, "same", labels=())]
    found = split(Folder(root=None, kind="classes", classes=NAMES, photos={"all": photos}, problems=[]), seed=0)
    assert [one.reason for one in found.problems] == ["the same photo is filed under nothing and ants"] * 2


def test_calibration_takes_photos_of_every_class_and_none_twice():
    photos = several(300)
    chosen = choose(photos, 40, seed=0)
    assert len(set(chosen)) == len(chosen) == 40
    assert (label_array(chosen, 6).sum(axis=0) >= 5).all()
    assert any(not one.labels for one in chosen)
