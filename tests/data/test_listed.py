"""Photos that a table lists: found, checked and split like those of folders."""

import os

import pytest

from tlkit.data.discover import discover
from tlkit.data.find import find_photos
from tlkit.data.inside import LEAVES
from tlkit.data.split import split
from tlkit.errors import DataError


def table_of(root, *, name="labels.csv", header="path,label", extra=(), cell="{path},{label}"):
    """Writes a table of all photos in `root`; their folders are the labels."""
    paths = sorted(path.relative_to(root) for path in root.glob("*/*.png"))
    rows = [cell.format(path=path, label=path.parent.name) for path in reversed(paths)]
    (root / name).write_text("\n".join([header, *rows, *extra]) + "\n")
    return root / name


def reasons(folder):
    return {problem.path: problem.reason for problem in folder.problems}


def test_a_table_gives_the_same_photos_and_the_same_split_as_the_folder(make_folder):
    root = make_folder(each=10)
    expected = discover(root)
    found = find_photos(table_of(root, header="file_name;Category", cell="{path};{label}"))
    assert (found.kind, found.root, found.classes) == ("classes", root, expected.classes)
    assert found.photos == expected.photos
    assert found.problems == []
    assert split(found, seed=3).to_split() == split(expected, seed=3).to_split()
    assert (found.origin.kind, found.origin.source) == ("csv", str(root / "labels.csv"))


def test_parquet_gives_the_same_photos_as_csv(make_folder):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    root = make_folder(each=3)
    paths = sorted(str(path.relative_to(root)) for path in root.glob("*/*.png"))
    columns = {"image": paths, "target": [path.split("/")[0] for path in paths]}
    parquet.write_table(pyarrow.table(columns), root / "labels.parquet")
    found = find_photos(root / "labels.parquet")
    assert found.photos == find_photos(table_of(root)).photos
    assert found.origin.kind == "parquet"


def test_a_column_of_splits_is_taken_as_it_is(make_folder):
    root = make_folder(each=6)
    names = ["train", "Training", "valid", "validation", "val", "test"]
    rows = [f"{one}/{i:03d}.png,{one},{name}" for one in ("ants", "bees") for i, name in enumerate(names)]
    (root / "t.csv").write_text("\n".join(["path,label,split", *rows]))
    found = find_photos(root / "t.csv")
    assert found.kind == "splits"
    assert {name: len(photos) for name, photos in found.photos.items()} == {"train": 4, "val": 6, "test": 2}
    assert [len(part) for part in (split(found, seed=0).train, split(found, seed=0).val)] == [4, 6]


def test_splits_in_a_table_give_what_folders_of_splits_give(make_folder, tmp_path):
    for number, name in enumerate(("train", "test")):
        make_folder(f"d/{name}", each=5, first=10 * number)
    root = tmp_path / "d"
    lines = [f"{p.relative_to(root)},{p.parent.name},{p.parts[-3]}" for p in root.glob("*/*/*.png")]
    (root / "t.csv").write_text("\n".join(["path,label,split", *lines]))
    found, expected = find_photos(root / "t.csv"), discover(root)
    assert split(found, seed=1).to_split() == split(expected, seed=1).to_split()


def test_rows_that_cannot_be_used_are_named(make_folder):
    root = make_folder(each=4)
    (root / "ants" / "broken.png").write_bytes(b"none")
    extra = ["none.jpg,ants", ",bees", "bees/000.png,", "./bees/../bees/001.png,bees"]
    found = find_photos(table_of(root, extra=[*extra, "wasps/000.png,ants"]))
    about = reasons(found)
    assert about.pop("ants/broken.png").startswith("not a JPEG")
    assert about == {
        "none.jpg": "no such file",
        "labels.csv, line 16": "no path",
        "bees/000.png": "no label (labels.csv, line 17)",
        "labels.csv, line 18": "lists bees/001.png again, like labels.csv, line 8",
        "wasps/000.png": "listed as wasps (labels.csv, line 5) and ants (labels.csv, line 19)",
    }
    assert sum(len(photos) for photos in found.photos.values()) == 11
    with pytest.raises(DataError, match=r"6 files in .*labels.csv can't be used, and --strict was given:\n  labels"):
        find_photos(root / "labels.csv", strict=True)


def test_a_file_listed_in_train_and_test_is_tested_on(make_folder):
    root = make_folder(each=4)
    lines = ["path,label,split", *(f"{c}/00{i}.png,{c},train" for c in ("ants", "bees") for i in range(3))]
    (root / "t.csv").write_text("\n".join([*lines, "ants/000.png,ants,test"]))
    found = find_photos(root / "t.csv")
    assert [photo.path for photo in found.photos["test"]] == ["ants/000.png"]
    assert reasons(found) == {"t.csv, line 2": "lists ants/000.png again, like t.csv, line 8"}


def test_backslashes_part_folders_and_labels_are_text(make_folder):
    root = make_folder(classes=("1", "10", "9"), each=2)
    found = find_photos(table_of(root, cell=".\\\\{path},{label}"))
    assert (found.classes, len(found.photos["all"])) == (("1", "10", "9"), 6)


def test_photos_beside_the_table_have_their_own_root(make_folder, tmp_path):
    root = make_folder(each=2)
    (tmp_path / "tables").mkdir()
    rows = [f"../photos/{path.relative_to(root)},{path.parent.name}" for path in root.glob("*/*.png")]
    (tmp_path / "tables" / "t.csv").write_text("\n".join(["path,label", *rows]))
    found = find_photos(tmp_path / "tables" / "t.csv")
    assert (found.root, found.photos) == (root, discover(root).photos)
    absolute = [f"{path},{path.parent.name}" for path in root.glob("*/*.png")]
    (tmp_path / "tables" / "t.csv").write_text("\n".join(["path,label", *absolute]))
    assert find_photos(tmp_path / "tables" / "t.csv").photos == found.photos


def test_a_photo_outside_of_where_the_others_are_is_left_out(make_folder, tmp_path):
    root = make_folder(each=2)
    other = make_folder("other", each=1, first=7)
    (root / "linked").symlink_to(other)
    extra = ["../other/ants/007.png,ants", "/etc/passwd,bees", "linked/bees/007.png,bees"]
    about = reasons(find_photos(table_of(root, extra=extra)))
    assert about == {
        str(other / "ants" / "007.png"): f"outside of {root}, where the others are (labels.csv, line 8)",
        "/etc/passwd": f"outside of {root}, where the others are (labels.csv, line 9)",
        "linked/bees/007.png": LEAVES,
    }


def test_photos_without_a_folder_in_common_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("path,label\n/etc/passwd,a\n/usr/b.jpg,b\n")
    with pytest.raises(DataError, match=r"The photos that .*t.csv lists have no folder in common. Put them into one"):
        find_photos(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "text, message",
    [
        ("name,label\na,b", r"has no column for the paths: one called path, .* Its columns are: 'name', 'label'."),
        ("path,kind\na,b", r"has no column for the labels: one called label, .* or target. Its columns are: 'path', "),
        ("path,file\na,b", r"has the columns 'path' and 'file': either could hold the paths. Rename or remove one"),
        ("path,label\n", r"t.csv lists no photo with a path and a label"),
        ("path,label,split\na,b,dev", r"t.csv, line 2 has the split 'dev'. A split is train, val \(or valid"),
        ("path,label,split\na,b,train\nc,d,", r"t.csv, line 3 has no split. A split is train, val"),
        ("path,label\na,b\nc,b", r"t.csv has only one label, 'b'. A classifier needs at least 2 classes"),
        ("path,label\na,b\nc,d/e", r"The label 'd/e' \(t.csv, line 3\) can't be a class: its name holds '/'"),
        ("path,label\na,b\nc,B", r"The labels 'B' and 'b' in .*t.csv differ only in case or accents"),
        ("path,label,split\na,b,test\nc,d,val", r"t.csv lists test and val photos but none to train on"),
        (
            "path,label,split\na,b,train\nc,d,train\ne,f,val",
            r"labels that no train photo has: f \(t.csv, line 4\). .* v",
        ),
        ("path,label\na,b\nc,d", r"No file in .*t.csv is a readable image.\n  a: no such file\n  c: no such file"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        find_photos(tmp_path / "t.csv")


def test_a_class_without_a_usable_photo_is_refused(make_folder):
    root = make_folder(each=2)
    with pytest.raises(DataError, match=r"No usable photo in class flies of .*labels.csv"):
        find_photos(table_of(root, extra=["none.png,flies"]))


def test_a_model_is_evaluated_on_what_a_table_holds_out(make_folder):
    root = make_folder(each=3)
    lines = [f"{c}/00{i}.png,{c},{s}" for c in ("ants", "bees") for i, s in enumerate(("train", "val", "test"))]
    (root / "t.csv").write_text("\n".join(["path,label,split", *lines]))
    found = find_photos(root / "t.csv", known=("wasps", "bees", "ants"))
    assert [(photo.path, photo.label) for photo in found.photos["all"]] == [("bees/002.png", 1), ("ants/002.png", 2)]
    (root / "t.csv").write_text("path,label,split\nants/000.png,ants,train")
    with pytest.raises(DataError, match=r"t.csv lists train photos only: nothing is held out. Leave its column"):
        find_photos(root / "t.csv", known=("ants", "bees"))
    (root / "t.csv").write_text("path,label\nants/000.png,ant")
    with pytest.raises(DataError, match=r"labels that are no class of the model: ant. Did you mean ants\? It knows: "):
        find_photos(root / "t.csv", known=("ants", "bees"))


@pytest.mark.slow
def test_200_000_rows_are_checked_in_seconds(make_folder):
    import time

    root = make_folder(each=2)
    for i in range(200_000 // 2000):
        (root / f"part{i}").mkdir()
    missing = [f"part{i // 2000}/{i:06d}.png,{('ants', 'bees')[i % 2]}" for i in range(200_000)]
    begun = time.perf_counter()
    found = find_photos(table_of(root, extra=missing))
    assert (len(found.problems), len(found.photos["all"])) == (200_000, 6)
    assert time.perf_counter() - begun < 60


def test_a_folder_named_like_a_table_is_a_folder(make_folder):
    root = make_folder("photos.csv", each=2)
    assert find_photos(root).origin is None
    os.rename(root, root.with_name("gone"))
    with pytest.raises(DataError, match="The table .*photos.csv can't be read: No such file"):
        find_photos(root)


def test_a_column_of_several_labels_is_pointed_to(tmp_path):
    (tmp_path / "x.csv").write_text("path,labels\na.png,a|b\n")
    with pytest.raises(DataError, match="A column of several labels needs --multi-label"):
        find_photos(tmp_path / "x.csv")
