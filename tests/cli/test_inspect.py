"""`tlkit inspect` as a user types it."""

import inspect as introspection
import json
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from tlkit.cli.inspect import command
from tlkit.cli.main import main
from tlkit.data.inspect import NEAR, inspect

from ..conftest import scene


@pytest.fixture
def folder(tmp_path):
    for label, name in enumerate(("ants", "bees")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(8 if label else 4):
            scene(50 * label + i).save(tmp_path / "photos" / name / f"{i:02d}.png")
    return tmp_path / "photos"


def test_a_clean_folder_is_said_to_be_clean(folder, capsys):
    assert main(["inspect", str(folder), "--input-size", "96", "--strict"]) == 0
    assert capsys.readouterr().out == (
        f"Photos               12 in 2 classes, {folder}\n"
        "Median size          160 x 120, from 160 x 120 to 160 x 120\n\n"
        "class  photos\n"
        "ants        4\n"
        "bees        8\n"
        "The largest class has 2.0 times the photos of the smallest: train with --class-weight auto, and read recall "
        "by class, not accuracy alone.\n\n"
        "Nothing found that makes figures wrong.\n"
    )


def test_findings_are_told_and_only_strict_makes_them_an_error(folder, capsys):
    (folder / "ants" / "broken.jpg").write_bytes(b"no photo")
    shutil.copy(folder / "ants" / "00.png", folder / "bees" / "swapped.png")
    Image.open(folder / "bees" / "01.png").resize((120, 90)).save(folder / "bees" / "small.jpg")
    shutil.copy(folder / "bees" / "02.png", folder / "bees" / "again.png")
    assert main(["inspect", str(folder)]) == 0
    out = capsys.readouterr().out
    for block in (
        "Can't be used: 1\n  ants/broken.jpg: not a JPEG, PNG, BMP, GIF or WebP image\n",
        "One picture, several labels: 1\n  ants/00.png, bees/swapped.png (copies)\n",
        "Exact copies: 1\n  bees/02.png, bees/again.png (copies)\n",
        "Near duplicates: 1\n  bees/01.png, bees/small.jpg (",
        "Smaller than the input size, 224 pixels: they would be enlarged: 15\n  ants/00.png\n",
        "  and 10 more, all of them with --json\n",
        "This makes figures wrong: files that can't be used: 1, pictures with several labels: 1",
    ):
        assert block in out
    assert main(["inspect", str(folder), "--strict"]) == 1
    capsys.readouterr()
    assert main(["inspect", str(folder), "--strict", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["harms"]


def test_the_automatic_split_is_warned_of(folder, capsys):
    for i in range(8):
        Image.open(folder / "bees" / f"{i:02d}.png").save(folder / "bees" / f"{i:02d}.jpg", quality=85)
    assert main(["inspect", str(folder)]) == 0
    out = capsys.readouterr().out
    leaks = inspect(folder).leaks
    assert leaks.paths
    assert (
        "Held out, with a near duplicate in train in the split that tlkit would make (seed 0): accuracy is "
        f"overestimated: {len(leaks.paths)}\n  {leaks.paths[0]}\n"
    ) in out
    assert "Keep one of each group, or make train/, val/ and test/ yourself and keep groups together." in out


def test_json_is_what_the_library_returns(folder, capsys):
    assert main(["inspect", str(folder), "--json", "--near", "100"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(inspect(folder, near_percent=100).to_dict()))


def test_of_many_classes_the_smallest_and_largest_are_shown(tmp_path, capsys):
    for label in range(24):
        (tmp_path / f"class{label:02d}").mkdir()
        for i in range(1 + label // 4):
            scene(100 * label + i).save(tmp_path / f"class{label:02d}" / f"{i}.png")
    assert main(["inspect", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "The smallest and the largest of 24 classes:\n" in out
    shown = [line.split()[0] for line in out.splitlines() if line.startswith("class") and line.split()[1].isdigit()]
    assert shown == [f"class{i:02d}" for i in (*range(10), *range(14, 24))]


def test_names_that_move_the_cursor_are_escaped(folder, capsys):
    (folder / "ants" / "evil\x1b[2J.png").write_bytes(b"x")
    assert main(["inspect", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "ants/evil\\x1b[2J.png: not a JPEG" in out


def test_the_default_of_near_is_that_of_the_library():
    (option,) = (one for one in command.params if one.name == "near_percent")
    assert option.default == NEAR == introspection.signature(inspect).parameters["near_percent"].default


def test_a_bad_percentage_is_a_sentence(folder, capsys):
    assert main(["inspect", str(folder), "--near", "50"]) == 2
    assert "Error: --near takes a percentage from 90 to 100, not 50." in capsys.readouterr().err


def test_it_imports_neither_tensorflow_nor_scipy(folder):
    code = (
        f"import sys\nfrom tlkit.cli.main import main\nmain(['inspect', {str(folder)!r}])\n"
        "print(sorted({'tensorflow', 'keras', 'sklearn', 'scipy', 'h5py'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_table_is_not_looked_at(tmp_path, capsys):
    (tmp_path / "labels.csv").write_text("path,label\n")
    assert main(["inspect", str(tmp_path / "labels.csv")]) == 1
    said = capsys.readouterr().err
    assert "labels.csv is a file, and tlkit inspect looks at folders alone. Give it a folder with one folder" in said
