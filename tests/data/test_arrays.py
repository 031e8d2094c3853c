"""Arrays become photos: what they hold, what they are called, and what can't be used."""

from hashlib import sha256

import numpy as np
import pytest

from tlkit.data.arrays import Arrays, again, photos_from
from tlkit.data.kept import keep_verification
from tlkit.data.pipeline import Pixels
from tlkit.data.recorded import find_again
from tlkit.data.split import split
from tlkit.errors import DataError
from tlkit.manifest import NAME
from tlkit.preprocess import PreprocessSpec

from ..conftest import coloured


def images(labels, size=(20, 16), first=0):
    return np.stack([np.asarray(coloured(label, first + i, size)) for i, label in enumerate(labels)])


Y = [0, 1, 2] * 4
X = images(Y)


def found(x=X, y=Y, **values):
    return photos_from(Arrays(x=x, y=y, **values))


@pytest.mark.parametrize(
    "y, names, classes",
    [
        (Y, None, ("0", "1", "2")),
        (np.array(Y, np.uint8)[:, None], None, ("0", "1", "2")),
        (np.array(Y, np.float32), ("red", "green", "blue"), ("red", "green", "blue")),
        (np.eye(3)[Y], None, ("0", "1", "2")),
        (np.eye(3, dtype=bool)[Y], ["c", "b", "a"], ("c", "b", "a")),
        ([("x", "y", "z")[i] for i in Y], None, ("x", "y", "z")),
        (np.array([(b"x", b"y", b"z")[i] for i in Y]), None, ("x", "y", "z")),
        (np.array([("x", "y", "z")[i] for i in Y], object), ("x", "y", "z"), ("x", "y", "z")),
    ],
)
def test_labels_of_every_form_mean_the_same(y, names, classes):
    folder = found(y=y, classes=names)
    assert folder.classes == classes
    assert [photo.label for photo in folder.photos["all"]] == Y


def test_numbers_are_sorted_as_numbers_and_names_as_given():
    assert found(y=[(9, 10, 2)[i] for i in Y]).classes == ("2", "9", "10")
    folder = found(y=[("b", "a", "c")[i] for i in Y], classes=["c", "a", "b"])
    assert (folder.classes, [photo.label for photo in folder.photos["all"]][:3]) == (("c", "a", "b"), [2, 1, 0])


def test_a_photo_is_what_its_png_file_is(tmp_path):
    photo = found().photos["all"][4]
    assert (photo.path, photo.sha256) == ("1/x_000004.png", sha256(photo.png()).hexdigest())
    (tmp_path / "a.png").write_bytes(photo.png())
    for spec in (PreprocessSpec(input_size=11), PreprocessSpec(input_size=8, resize="crop", crop_fraction=0.9)):
        assert np.array_equal(photo.load(spec), spec.load(tmp_path / "a.png"))
        assert np.array_equal(Pixels(tmp_path / "none", [photo], spec).load([0])[0], photo.load(spec))


def test_numbers_of_every_type_and_grey_images_of_every_shape_are_the_same():
    grey = X[..., 0]
    wanted = [photo.sha256 for photo in found(x=grey).photos["all"]]
    for x in (
        grey[..., None],
        np.minimum(grey + np.float32(0.4), 255),
        grey.astype(np.int64),
        list(grey),
        tuple(grey[..., None]),
    ):
        assert [photo.sha256 for photo in found(x=x).photos["all"]] == wanted


def test_images_may_differ_in_size():
    x = [np.asarray(coloured(label, i, (10 + i, 20))) for i, label in enumerate(Y)]
    folder = found(x=x)
    assert [photo.image.shape for photo in folder.photos["all"]] == [(20, 10 + i, 3) for i in range(12)]


def test_given_validation_and_test_data_are_the_splits():
    more = images([2, 1, 0], first=50)
    folder = found(validation=(more, [2, 1, 0]), test=(more[:2] // 2, [2, 1]))
    parts = split(folder, seed=0)
    assert (folder.kind, len(parts.train), len(parts.val), len(parts.test)) == ("splits", 12, 3, 2)
    assert [photo.path for photo in parts.val] == ["2/x_val_000000.png", "1/x_val_000001.png", "0/x_val_000002.png"]
    assert parts.test[0].path == "2/x_test_000000.png"
    only = split(found(test=(more, [2, 1, 0])), seed=0)
    assert (len(only.train), len(only.val), len(only.test)) == (9, 3, 3)


def test_copies_count_once():
    folder = found(x=np.concatenate([X, X[:3]]), y=Y + Y[:3])
    assert [(problem.path, problem.reason) for problem in split(folder, seed=0).problems][0] == (
        "0/x_000012.png",
        "the same photo as 0/x_000000.png",
    )


def test_what_later_commands_need_is_kept_in_the_run(tmp_path):
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    (run / NAME).write_text("{}")
    photos = split(found(), seed=5)
    keep_verification(run, photos, seed=5)
    kept = {path.relative_to(run / "verification").as_posix() for path in run.rglob("*.png")}
    assert kept == {photo.path for photo in (*photos.train, *photos.held_out)}  # few enough for calibration
    assert photos.recorded_root == "verification"
    manifest = {"data": {"kind": "arrays", "root": "verification"}}
    moved = run.rename(tmp_path / "moved")
    assert find_again(manifest, photos.held_out, None, run=moved)[0] == moved / "verification"
    (moved / "verification" / photos.train[0].path).unlink()
    with pytest.raises(DataError, match=r"1 of 6 images are not in .*verification: .* 200 training images: --calib"):
        find_again(manifest, photos.train, None, run=moved)
    with pytest.raises(DataError, match="200 training images: leave --train out"):
        find_again(manifest, photos.train, None, run=moved, limit="leave --train out")
    assert list((tmp_path / "runs" / ".tlkit").iterdir()) == []


def test_only_training_images_of_the_default_calibration_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("tlkit.data.kept.DEFAULT_CALIBRATION", 3)
    photos = split(found(), seed=5)
    keep_verification(tmp_path, photos, seed=5)
    assert len(list(tmp_path.rglob("*.png"))) == 3 + len(photos.held_out)


def test_images_of_an_earlier_process_are_found_by_their_contents():
    photos = split(found(), seed=0).train
    order = np.random.default_rng(0).permutation(len(X))
    assert again(photos, X[order]) == list(photos)
    with pytest.raises(DataError, match="1 of 6 training images of this run are not in x: .*. Give the same x as when"):
        again(photos, np.stack([photo.image for photo in photos[1:]]))


NHWC = np.zeros((12, 3, 16, 20), np.uint8) + 9


@pytest.mark.parametrize(
    "x, message",
    [
        (
            X / 255,
            r"x has no value above 1, and takes \[0, 255\]. Multiply by 255: \(255 \* x\).round\(\).astype\('uint8'\)",
        ),
        ((X > 9).astype(np.uint8), r"x has no value above 1"),
        (
            X / 127.5 - 1,
            r"x\[0\] has values from -1 to .*. It takes RGB in \[0, 255\], not normalized: the model does th",
        ),
        (X.astype(np.int64) * 3, r"x\[0\] has values from \d+ to \d+. It takes RGB"),
        (np.where(X > 200, np.nan, X), r"x\[0\] has values from nan to nan. It takes RGB"),
        (X > 9, r"x\[0\] is of type bool. It takes uint8, or other numbers in \[0, 255\]"),
        (NHWC, r"x\[0\] has the shape \[3, 16, 20\]: channels come last here. Use np.moveaxis\(x, 1, -1\)"),
        (X[0], r"x\[0\] has values|x has 16 images and y has 12 labels"),
        (X[0, 0], r"x has the shape \[20, 3\]. It takes \[N, H, W, 3\], \[N, H, W, 1\] or \[N, H, W\]"),
        (
            np.zeros((12, 4, 4, 2)),
            r"x\[0\] has the shape \[4, 4, 2\]. An image is \[H, W, 3\], \[H, W, 1\] or \[H, W\]",
        ),
        ([np.zeros(4)] * 12, r"x\[0\] has the shape \[4\]. An image is"),
        (np.zeros((12, 0, 4, 3)), r"x\[0\] has the shape \[0, 4, 3\]. An image is"),
        ([], r"x holds no image"),
        ([[[1, 2], [3]]] * 12, r"x\[0\] can't become an array of NumPy: "),
        (X[:11], r"x has 11 images and y has 12 labels. Give one label for each image"),
        (
            [np.broadcast_to(np.uint8(2), (20_000, 20_000))] * 12,
            r"x\[0\] has 20000 x 20000 pixels, the limit is 178,956",
        ),
    ],
)
def test_what_is_wrong_with_images_is_said(x, message):
    with pytest.raises(DataError, match=message):
        found(x=x)


@pytest.mark.parametrize(
    "y, classes, message",
    [
        (np.full((12, 3), 1 / 3), None, "y is not one-hot: each row must hold a single 1 and else 0"),
        (np.array(Y) + 0.5, None, "y has labels that are not whole numbers, such as 0.5"),
        (np.zeros((12, 2, 2)), None, r"y is of type float64 and shape \[12, 2, 2\]. It takes \[N\] numbers or names"),
        ([None] * 12, None, r"y is of type object and shape \[12\]"),
        ([7] * 12, None, "y has 1 classes. A classifier needs at least 2"),
        (Y, ["a", "b"], "y has 2, which is no class. The classes are: 0, 1."),
        (
            ["ant", "bee"] * 6,
            ["ants", "bees"],
            "y has 'ant', which is no class. Did you mean ants. The classes are: ants",
        ),
        (Y, ["a", "b", "c", "d"], "No image to train on is of class d: y never says so. Add some, or leave it out"),
        (Y, ["a", "b", "a"], "classes names 'a' twice. Give each class its own name"),
        (
            Y,
            ["a", "b", "c/d"],
            "'c/d' can't be a class: its name holds '/', which separates folders. Give classes other",
        ),
        (Y, ["a", "b", "C:"], "'C:' can't be a class: its name is absolute"),
        (np.eye(3)[Y], ["a", "b"], "y has 3 columns, and classes has 2 names. Give one for each"),
    ],
)
def test_what_is_wrong_with_labels_is_said(y, classes, message):
    with pytest.raises(DataError, match=message):
        found(y=y, classes=classes)


def test_validation_labels_must_be_of_the_same_kind_and_known():
    with pytest.raises(
        DataError, match="y holds numbers, y of validation_data one-hot of another form. Give both alike"
    ):
        found(validation=(X[:3], np.eye(3)))
    with pytest.raises(DataError, match="y of test_data has 3, which is no class. The classes are: 0, 1, 2."):
        found(test=(X[:3], [1, 2, 3]))
    with pytest.raises(DataError, match=r"x of validation_data\[0\] has values from .* to -1"):
        found(validation=(-np.maximum(X[:3].astype(float), 1), [0, 1, 2]))


def test_arrays_are_read_without_tensorflow():
    import subprocess
    import sys

    program = (
        "import sys, numpy as np\n"
        "from tlkit.data.arrays import Arrays, photos_from\n"
        "from tlkit.data.split import split\n"
        "from tlkit.data.pipeline import Pixels\n"
        "from tlkit.preprocess import PreprocessSpec\n"
        "x = np.random.default_rng(0).integers(0, 255, (8, 9, 9, 3), np.uint8)\n"
        "photos = split(photos_from(Arrays(x=x, y=[0, 1] * 4)), seed=0)\n"
        "Pixels(photos.root, photos.train, PreprocessSpec(input_size=4)).load([0, 1])\n"
        "print({'tensorflow', 'keras'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"
