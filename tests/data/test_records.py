"""TFRecord files are unpacked once, and are a folder of photos from then on."""

import shutil

import pytest

from tlkit.data.cache import clear, entries
from tlkit.data.discover import discover
from tlkit.data.find import find_photos
from tlkit.data.records import record_files, unpack
from tlkit.data.split import split
from tlkit.errors import DataError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))


def example(**features):
    import tensorflow as tf

    def feature(value):
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    named = {name.replace("__", "/"): feature(value) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=named)).SerializeToString()


def write(path, records, options=None):
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path), options) as writer:
        for record in records:
            writer.write(record)
    return path


def photos_of(root):
    return [(path.parent.name, path.read_bytes()) for path in sorted(root.glob("*/*.png"))]


def reading(root):
    """Returns records as TensorFlow Datasets and the research models write them, by turns."""
    return [
        example(image=content, label=name.encode())
        if i % 2
        else example(image__encoded=content, image__class__text=name.encode(), image__class__label=7)
        for i, (name, content) in enumerate(photos_of(root))
    ]


def told(folder):
    return {name: sorted((photo.label, photo.sha256) for photo in photos) for name, photos in folder.photos.items()}


def test_records_give_the_photos_and_the_split_of_the_folder(make_folder, tmp_path):
    root = make_folder(each=10)
    path = write(tmp_path / "photos.tfrecord", reading(root))
    found, expected = find_photos(path), discover(root)
    assert (found.kind, found.classes, told(found)) == ("classes", expected.classes, told(expected))
    assert (found.origin.kind, found.origin.source) == ("tfrecord", str(path))
    ours, theirs = split(found, seed=2), split(expected, seed=2)
    for part in ("train", "val", "test"):
        assert {p.sha256 for p in getattr(ours, part)} == {p.sha256 for p in getattr(theirs, part)}
    first = found.photos["all"][0]
    assert first.path == f"ants/{first.sha256}.png"


def test_records_are_unpacked_once_and_counted_in_the_cache(make_folder, tmp_path, monkeypatch):
    path = write(tmp_path / "photos.tfrecord", reading(make_folder(each=2)))
    folder = unpack(path)
    monkeypatch.setattr("tlkit.data.records._write", lambda *_: pytest.fail("unpacked again"))
    assert unpack(shutil.copy(path, tmp_path / "renamed.tfrecord")) == folder
    assert [(entry.kind, entry.path) for entry in entries()] == [("tfrecord", folder)]
    clear()
    assert not folder.exists()


def test_files_named_after_splits_are_the_splits(make_folder, tmp_path):
    place = tmp_path / "records"
    place.mkdir()
    for number, name in enumerate(("train", "validation", "test")):
        records = reading(make_folder(name, each=3, first=10 * number))
        write(place / f"flowers-{name}.tfrecord-00000-of-00001", records)
    (place / "features.json").write_text("{}")
    found = find_photos(place)
    assert found.kind == "splits"
    assert {name: len(photos) for name, photos in found.photos.items()} == {"train": 9, "val": 9, "test": 9}
    only = find_photos(place / "flowers-t*.tfrecord*")
    assert sorted(only.photos) == ["test", "train"]


def test_several_files_of_one_split_are_split(make_folder, tmp_path):
    for number in range(2):
        write(tmp_path / f"train-{number}.tfrecord", reading(make_folder(f"part{number}", each=3, first=10 * number)))
    found = find_photos(tmp_path / "train-?.tfrecord")
    assert (found.kind, len(found.photos["all"])) == ("classes", 18)


def test_compressed_records_and_numbered_classes_are_read(make_folder, tmp_path):
    root, place = make_folder(classes=("1", "9", "10"), each=2), tmp_path / "records"
    place.mkdir()
    records = [example(image_raw=content, label=int(name)) for name, content in photos_of(root)]
    write(place / "photos.tfrecord.gz", records, "GZIP")
    assert find_photos(place).classes == ("1", "10", "9")
    (place / "label.labels.txt").write_text("".join(f"class {i}\n" for i in range(11)))
    assert find_photos(place).classes == ("class 1", "class 10", "class 9")


def test_a_folder_of_classes_beside_a_record_file_is_a_folder(make_folder, tmp_path):
    root = make_folder(each=2)
    (root / "photos.tfrecord").write_bytes(b"")
    assert record_files(root) == []
    assert find_photos(root).origin is None


def test_a_record_that_is_no_image_is_left_out(make_folder, tmp_path):
    records = [*reading(make_folder(each=2)), example(image=b"none", label=b"ants")]
    found = find_photos(write(tmp_path / "photos.tfrecord", records))
    assert [problem.reason for problem in found.problems] == ["not a JPEG, PNG, BMP, GIF or WebP image"]
    assert found.problems[0].path.endswith(".unknown")


@pytest.mark.parametrize(
    "records, message",
    [
        ([{"label": 1}], r"t.tfrecord, record 1 has no encoded image: .* image_raw. Its features are: label."),
        (
            [{"image": b"\xff\xd8", "name": b"x"}],
            r"record 1 has no single class: .* or label. Its features are: image, n",
        ),
        ([{"image": b"\xff\xd8", "label": [1, 2]}], r"record 1 has no single class"),
        (
            [{"image": b"\xff\xd8", "label": b"../x"}],
            r"The class '../x' \(.*record 1\) can't be one: its name holds '/'",
        ),
        (
            [{"image": b"\xff\xd8", "label": b".x"}],
            r"The class '.x' \(.*record 1\) .* its name begins with a dot. Write",
        ),
        ([{"image_raw": b"\0" * 12, "label": 1}], r"No record of t.tfrecord holds a JPEG, .*tf.io.encode_png"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(tmp_path, records, message):
    path = write(tmp_path / "t.tfrecord", [example(**one) for one in records])
    with pytest.raises(DataError, match=message):
        unpack(path)
    assert entries() == []


def test_damaged_records_are_refused(make_folder, tmp_path):
    path = write(tmp_path / "t.tfrecord", reading(make_folder(each=2)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"t.tfrecord, record \d is damaged, or this is no TFRecord file. Copy it again"
    ):
        unpack(path)
    write(path, [b"\xff\xff\xff"])
    with pytest.raises(DataError, match=r"t.tfrecord, record 1 is no tf.train.Example. Write the photos as Examples"):
        unpack(path)
    assert list((tmp_path / "cache").iterdir()) == []


def test_compressed_records_that_outgrow_the_cache_are_refused(tmp_path, monkeypatch):
    import io

    from PIL import Image

    image = io.BytesIO()
    Image.new("RGB", (600, 600)).save(image, "BMP")
    path = write(tmp_path / "t.tfrecord.gz", [example(image=image.getvalue(), label=1)] * 2, "GZIP")
    assert path.stat().st_size < 10_000
    monkeypatch.setattr("tlkit.data.cache.limit", lambda used: 500_000)
    monkeypatch.setattr("tlkit.data.records._MORE", 1000)
    with pytest.raises(
        DataError, match="The records in .* can't be unpacked: the next photos would take 1.0 kB, the limit"
    ):
        unpack(path)
    assert entries() == []


def test_a_folder_that_cannot_be_read_is_no_folder_of_records(tmp_path, monkeypatch):
    from pathlib import Path

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert record_files(tmp_path) == []


def test_names_that_tell_only_some_splits_are_refused(make_folder, tmp_path):
    records = reading(make_folder(each=2))
    for name in ("val", "test", "more"):
        write(tmp_path / f"{name}.tfrecord", records)
    with pytest.raises(DataError, match="say train, val or test, but that of more.tfrecord does not. Rename it, or"):
        unpack(tmp_path / "*.tfrecord")
    (tmp_path / "more.tfrecord").unlink()
    with pytest.raises(DataError, match="There are record files for test and val, but none for train. Add them."):
        unpack(tmp_path / "*.tfrecord")


def test_a_cache_without_room_or_permission_says_so(make_folder, tmp_path, monkeypatch):
    path = write(tmp_path / "t.tfrecord", reading(make_folder(each=2)))
    monkeypatch.setattr("tlkit.data.cache.limit", lambda used: 1000)
    with pytest.raises(
        DataError, match="can't be unpacked: the photos would take .*, the limit of the cache is 1.0 kB"
    ):
        unpack(path)
    monkeypatch.setattr("tlkit.data.records.make_room", lambda *_: None)
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache").chmod(0o500)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(DataError, match="can't be unpacked to .*tfrecord-.*: Permission denied. Set TLKIT_CACHE to a"):
        unpack(path)
