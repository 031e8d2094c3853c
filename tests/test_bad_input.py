"""Bad input through the command line: one sentence, the right exit code, no traceback, nothing left behind.

Wrong options are in `cli/test_cli.py`, photos and folders in `data/test_discover.py`, full disks in
`test_full_disk.py`, images that unpack to gigabytes in `test_image_bombs.py`, weights in `models/test_weights.py`.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import pytest

from tlkit.cli.main import main
from tlkit.convert.tflite_pack import pack, unpack
from tlkit.errors import RunError, TlkitError
from tlkit.manifest import MAX_BYTES, NAME, read_manifest, write_json
from tlkit.names import class_name_problem, path_problem
from tlkit.preprocess import MAX_INPUT_SIZE, PreprocessSpec

from .conftest import coloured, tree
from .test_manifest import make_run

SPEC = PreprocessSpec(input_size=24).to_dict()


def refused(capsys, before, folder, *arguments, code=1):
    """Runs a command that must fail in a sentence and leave `folder` as it was; returns the sentence."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert tree(folder) == before
    return captured.err.splitlines()[-1]


# What a run.json may be instead of a manifest.
NOT_MANIFESTS = {
    "empty": (b"", "is broken .Expecting value"),
    "half": (b'{"schema": 1, "status": "comp', "is broken .Unterminated string"),
    "binary": (bytes(range(256)) * 4, "is broken .'utf-8' codec can't decode"),
    "latin-1": ('{"schema": 1, "base": "é"}'.encode("latin-1"), "is broken .'utf-8' codec"),
    "utf-16": ('{"schema": 1}'.encode("utf-16"), "is broken .'utf-8' codec"),
    "a list": (b"[1]", "is not a manifest of tlkit"),
    "a number": (b"1", "is not a manifest of tlkit"),
    "null": (b"null", "is not a manifest of tlkit"),
    "nested": (b"[" * 200_000, "is broken .nested too deeply"),
    "nested objects": (b'{"schema":' * 200_000, "is broken .nested too deeply"),
    "a huge number": (b'{"schema": ' + b"9" * 10_000 + b"}", "is broken .Exceeds the limit"),
    "schema NaN": (b'{"schema": NaN}', "has no schema number"),
    "schema true": (b'{"schema": true}', "has no schema number"),
    "schema text": (b'{"schema": "1"}', "has no schema number"),
    "schema 0": (b'{"schema": 0}', "has no schema number"),
    "schema 2": (b'{"schema": 2}', "was written by a newer tlkit .schema 2, this one reads 1.. Upgrade with: pip"),
}


@pytest.mark.parametrize("case", NOT_MANIFESTS)
@pytest.mark.parametrize("command", ["predict", "export"])
def test_what_is_no_manifest_is_refused(tmp_path, capsys, case, command):
    content, message = NOT_MANIFESTS[case]
    folder = make_run(tmp_path, "a")
    (folder / NAME).write_bytes(content)
    arguments = ["predict", "--run", folder, "x.jpg"] if command == "predict" else ["export", "--to", "tflite", folder]
    last = refused(capsys, tree(tmp_path), tmp_path, *arguments)
    with pytest.raises(RunError, match=message) as caught:
        read_manifest(folder)
    assert last == f"Error: {caught.value}"


def test_a_manifest_that_is_a_folder_a_pipe_or_too_large_is_not_read(tmp_path, capsys):
    folder = make_run(tmp_path, "a")
    path = folder / NAME
    path.unlink()
    path.mkdir()
    assert "run.json is broken: it is not a file" in refused(
        capsys, tree(tmp_path), tmp_path, "predict", "--run", folder, "x"
    )
    path.rmdir()
    os.mkfifo(path)
    assert main(["predict", "--run", str(folder), "x"]) == 1
    assert "run.json is broken: it is not a file" in capsys.readouterr().err
    path.unlink()
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 2**20)
    assert main(["predict", "--run", str(folder), "x"]) == 1
    assert "it has 257 MiB, and no manifest has more than 256" in capsys.readouterr().err


def test_a_run_that_is_a_file_is_refused(tmp_path, capsys):
    file = tmp_path / "notes.txt"
    file.write_text("hello")
    last = refused(capsys, tree(tmp_path), tmp_path, "predict", "--run", file, "x.jpg")
    assert f"{file} is a file. Name the folder of a run" in last
    with pytest.raises(RunError, match="notes.txt is a file, and a run is a folder. Runs are made with: tlkit fine"):
        read_manifest(file)


PHOTO = {"path": "a/1.png", "label": 0, "sha256": "0" * 64}


def split(**change):
    return {"split": {"train": [PHOTO | change], "val": [], "test": []}}


# Manifests that are whole but for one value.
FORGED = {
    "an absolute photo": (split(path="/etc/passwd"), "'split' is not whole, in 'train', the path '/etc/passwd' is abs"),
    "a photo on a drive": (split(path="C:/x.png"), "the path 'C:/x.png' is absolute"),
    "a photo above": (split(path="a/../../x.png"), "the path 'a/../../x.png' leaves the folder"),
    "a backslash": (split(path="..\\x.png"), "the path .* has a backslash"),
    "a photo without name": (split(path=""), "the path '' is not that of a file"),
    "NUL in a path": (split(path="a\0b"), "is not that of a file"),
    "a path that is a number": (split(path=5), "the path or sha256 of a photo is no text"),
    "a photo that is a list": ({"split": {"train": [[]], "val": [], "test": []}}, "an entry is not a photo with path"),
    "a photo with more": (split(extra=1), "an entry is not a photo with path"),
    "no test": ({"split": {"train": [], "val": []}}, "'split' is not whole, it has no list 'test'"),
    "a label too high": (split(label=2), "the label 2 of 'a/1.png' is not from 0 to 1"),
    "a label below zero": (split(label=-1), "the label -1 of 'a/1.png' is not from 0 to 1"),
    "a label that is true": (split(label=True), "the label True of"),
    "a label that is a half": (split(label=0.5), "the label 0.5 of"),
    "an artifact above": ({"artifacts": [{"path": "../x.tflite"}]}, "'artifacts' is not whole, the path '../x.tflite'"),
    "an absolute artifact": ({"artifacts": [{"path": "/bin/sh"}]}, "the path '/bin/sh' is absolute"),
    "an artifact that is a number": ({"artifacts": [{"path": 3}]}, "'artifacts' is not whole, an entry has no path"),
    "classes twice": ({"classes": ["a", "b", "a"]}, "'classes' is not whole, the name 'a' is there twice"),
    "one class": ({"classes": ["a"]}, "it has 1 entries, and a classifier needs at least 2"),
    "a class that is a path": ({"classes": ["a", "../x"]}, "the name '../x' holds '/', which separates folders"),
    "a class with a backslash": ({"classes": ["a", "b\\c"]}, "which separates folders"),
    "a class that is ..": ({"classes": ["a", ".."]}, "the name '..' is not that of a folder of its own"),
    "an empty class": ({"classes": ["a", ""]}, "the name '' is empty"),
    "a class with a line break": ({"classes": ["a", "b\nc"]}, "has a character that is none, such as a line break"),
    "a class with NUL": ({"classes": ["a", "b\0"]}, "has a character that is none"),
    "a class that is half a character": ({"classes": ["a", "\ud800"]}, "has a character that is none"),
    "a long class": ({"classes": ["a", "é" * 128]}, "is longer than 255 bytes"),
    "a class that is a number": ({"classes": ["a", 3]}, "3 is no name"),
    "no root": ({"data": {"root": None}}, "'data' is not whole, it has no root"),
    "status a number": ({"status": 3}, "'status' is of type int"),
    "seed a text": ({"seed": "0"}, "'seed' is of type str"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_manifest_is_refused(tmp_path, capsys, case):
    change, message = FORGED[case]
    folder = make_run(tmp_path, "a")
    values = json.loads((folder / NAME).read_text()) | change
    (folder / NAME).write_text(json.dumps(values))
    last = refused(capsys, tree(tmp_path), tmp_path, "export", "--to", "tflite", folder)
    with pytest.raises(RunError, match=message) as caught:
        read_manifest(folder)
    assert last == f"Error: {caught.value}"
    assert last.endswith("Restore it from a copy, or train again.")


# Fields of the preprocessing that a manifest could hold.
SPECS = {
    "input_size": (0, -1, MAX_INPUT_SIZE + 1, 10**12, 24.0, "24", True, None, [24]),
    "resize": ("squash", 1, None, ["crop"]),
    "crop_fraction": (0, -0.5, 1.5, float("nan"), float("inf"), "1", True, None),
    "interpolation": ("nearest", None),
    "antialias": (False, 1, None),
    "decode": ("halved",),
    "orientation": ("none",),
    "alpha": ("black",),
    "depth16": ("low-byte",),
    "color": ("bgr",),
    "dtype": ("float32",),
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in SPECS.items() for value in values])
def test_a_preprocessing_that_cant_be_is_refused(field, value):
    with pytest.raises(RunError, match=f"preprocessing of this run is broken: '{field}' can't be .* Restore run.json"):
        PreprocessSpec.from_dict(SPEC | {field: value})


@pytest.mark.parametrize("field", [name for name in SPEC if name != "version"])
def test_a_preprocessing_with_a_gap_is_refused(field):
    with pytest.raises(RunError, match=f"preprocessing of this run is broken: it has no '{field}'"):
        PreprocessSpec.from_dict({name: value for name, value in SPEC.items() if name != field})


def change_manifest(run, **values):
    manifest = json.loads((run / NAME).read_text())
    write_json(run / NAME, manifest | values)
    return manifest


@pytest.mark.parametrize("command", ["predict", "export"])
def test_an_absurd_input_size_is_refused_before_anything_is_decoded(run, capsys, command):
    change_manifest(run, preprocess=PreprocessSpec(input_size=28).to_dict() | {"input_size": 10**9})
    photo = run.parent / "a.png"
    coloured(0, 0).save(photo)
    arguments = ["predict", "--run", run, photo] if command == "predict" else ["export", "--to", "tflite", run]
    assert "'input_size' can't be 1000000000" in refused(capsys, tree(run), run, *arguments)


@pytest.mark.parametrize(
    "values", [{"classes": [*"0123456789", "ten"]}, {"preprocess": PreprocessSpec(input_size=32).to_dict()}]
)
def test_a_manifest_and_a_model_that_do_not_belong_together_are_refused(run, capsys, values):
    change_manifest(run, **values)
    photo = run.parent / "a.png"
    coloured(0, 0).save(photo)
    for arguments in (["predict", "--run", run, photo], ["export", "--to", "tflite", run]):
        last = refused(capsys, tree(run), run, *arguments)
        assert "model.keras does not belong to this run: it maps [(None, 28, 28, 3)] to [(None, 10)]" in last


def test_a_run_without_unseen_photos_proves_nothing(run, capsys):
    manifest = change_manifest(run)
    change_manifest(run, split=manifest["split"] | {"val": [], "test": []})
    last = refused(capsys, tree(run), run, "export", "--to", "tflite", run)
    assert "has no photos that training did not see, so nothing can be proven" in last


def test_photos_that_are_gone_changed_or_pipes_stop_an_export(run, capsys, tmp_path):
    import shutil

    manifest = json.loads((run / NAME).read_text())
    root = Path(shutil.copytree(manifest["data"]["root"], tmp_path / "copy"))
    change_manifest(run, data=manifest["data"] | {"root": str(root)})
    gone, changed, pipe = (root / photo["path"] for photo in manifest["split"]["val"][:3])
    gone.unlink()
    changed.write_bytes(changed.read_bytes() + b"x")
    pipe.unlink()
    os.mkfifo(pipe)
    assert main(["export", "--to", "tflite", str(run)]) == 1
    err = capsys.readouterr().err
    assert "3 of 538 photos of this run are not in" in err
    assert "any more, or have changed" in err
    assert not (run / "artifacts").exists()


def test_a_model_that_carries_code_or_links_elsewhere_is_refused(run, capsys, tmp_path):
    with zipfile.ZipFile(run / "model.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (tmp_path / "weights.h5").write_bytes(parts["model.weights.h5"])
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        for name in ("layers", "vars", "_layer_checkpoint_dependencies"):
            file[name] = h5py.ExternalLink(str(tmp_path / "weights.h5"), f"/{name}")
    config = json.loads(parts["config.json"])
    for content in (
        parts | {"model.weights.h5": (tmp_path / "linked.h5").read_bytes()},
        parts | {"config.json": json.dumps({**config, "class_name": "Popen", "module": "subprocess"}).encode()},
        parts | {"config.json": b"{}"},
        parts | {"config.json": b"[" * 100_000},
        {name: body for name, body in parts.items() if name != "model.weights.h5"},
    ):
        with zipfile.ZipFile(run / "model.keras", "w") as archive:
            for name, body in content.items():
                archive.writestr(name, body)
        last = refused(capsys, tree(run), run, "export", "--to", "tflite", run)
        assert "model.keras can't be loaded (" in last, last
        assert last.endswith("Restore it from a copy, or train again.")


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp/x", "..", "."])
def test_a_run_name_that_is_a_path_is_refused(tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    last = refused(capsys, {}, tmp_path, "finetune", "--base", "lenet5", "--name", name)
    assert f"{name!r} can't be the name of a run" in last


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b\\c"), "in .* can't be a class: its name holds .*, which separates folders. Rename it."),
        (("a", "b\nc"), "can't be a class: its name has a character that is none"),
        (("a", "A", "b"), "'A' and 'a' in .* differ only in case or in how accents are encoded"),
    ],
    ids=["separator", "line break", "case"],
)
def test_class_folders_that_cant_be_are_refused(make_folder, tmp_path, capsys, names, message):
    import re

    root = make_folder(classes=names, each=2)
    arguments = ["finetune", "--base", "lenet5", "--data", root, "--runs", tmp_path / "runs"]
    assert re.search(message, refused(capsys, tree(tmp_path), tmp_path, *arguments))


def test_a_folder_of_links_elsewhere_is_refused(make_folder, tmp_path, capsys):
    root = make_folder(each=2)
    (tmp_path / "links").mkdir()
    for name in ("ants", "bees"):
        (tmp_path / "links" / name).symlink_to(root / name, target_is_directory=True)
    arguments = ["finetune", "--base", "lenet5", "--data", tmp_path / "links", "--runs", tmp_path / "runs"]
    last = refused(capsys, tree(tmp_path), tmp_path, *arguments)
    assert "Left out: ants, bees: a link that leaves the folder: copy its target into it." in last


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "a\nb", "a\0b", "a\x1b[0m", "\udcff", "a\u202eb", "x" * 256]
)
def test_names_that_can_be_no_class(name):
    assert class_name_problem(name)


@pytest.mark.parametrize("name", ["a", "<script>", "=1+1", "it's", 'a "b"', "two words", "雪", "été", "...", "x" * 255])
def test_names_that_can_be_a_class(name):
    assert class_name_problem(name) is None


@pytest.mark.parametrize("path", ["", "/a", "..", "../a", "a/..", "a/../b", "a\\b", "c:/a", "a\0"])
def test_paths_that_could_leave_a_folder(path):
    assert path_problem(path)


@pytest.mark.parametrize("path", ["a", "a/b.png", "a/..b/c", "<a>/ b.png", "a:b/c", "..."])
def test_paths_that_stay_inside(path):
    assert path_problem(path) is None


@pytest.mark.parametrize("label", ["../x", "a\tb", "", "x" * 300])
def test_labels_inside_a_file_that_cant_be_are_refused(tmp_path, label):
    (tmp_path / "a.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    pack(tmp_path / "a.tflite", labels=["a", label], about={})
    with pytest.raises(TlkitError, match="a.tflite carries the label .*, which .*Export it again"):
        unpack(tmp_path / "a.tflite")


@pytest.mark.parametrize(
    ("form", "labels", "about"),
    [
        (zipfile.ZIP_STORED, b"\xff\xfe", b"{}"),
        (zipfile.ZIP_STORED, b"a\n", b"{"),
        (zipfile.ZIP_STORED, b"a\n", b"[" * 100_000),
        (zipfile.ZIP_STORED, b"a\n", b"[]"),
        (zipfile.ZIP_DEFLATED, b"a\n" * 2**26, b"{}"),
        (zipfile.ZIP_STORED, b"a\n" * 2**26, b"{}"),
        (zipfile.ZIP_STORED, None, b"{}"),
    ],
    ids=["not UTF-8", "half", "nested", "a list", "a bomb", "large", "no labels"],
)
def test_broken_parts_inside_a_file_are_refused(tmp_path, form, labels, about):
    (tmp_path / "a.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    with zipfile.ZipFile(tmp_path / "a.tflite", "a", form) as archive:
        if labels is not None:
            archive.writestr("labels.txt", labels)
        archive.writestr("tlkit.json", about)
    with pytest.raises(TlkitError, match="a.tflite carries no labels of tlkit's: .*Export it with: tlkit export"):
        unpack(tmp_path / "a.tflite")


AS_ANYONE = """
import ctypes, os, sys
if os.geteuid() == 0:
    for capability in (1, 2, 3):  # to read, search and change whatever its permissions say
        if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):
            sys.exit(99)
os.execv(sys.executable, [sys.executable, "-m", "tlkit", *sys.argv[1:]])
"""


def as_anyone(place, *arguments, **env):
    """Runs a command for which permissions count, as they do not for root."""
    done = subprocess.run(
        [sys.executable, "-c", AS_ANYONE, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        cwd=place,
        timeout=300,
    )
    if done.returncode == 99:
        pytest.skip("root may write everywhere here, and can't give that up")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done


def make_read_only(folder):
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_an_export_into_a_read_only_run_is_refused_before_the_work(run, tmp_path):
    make_read_only(run)
    before = tree(run)
    done = as_anyone(tmp_path, "export", "--to", "tflite", run)
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"Error: Permission denied: {run}/artifacts. Change its permissions, or work in another place"
    )
    assert "Converting" not in done.stderr
    assert (done.stdout, tree(run)) == ("", before)


def test_a_runs_folder_that_cant_be_written_is_refused_before_the_work(make_folder, tmp_path):
    root = make_folder(each=2)
    runs = tmp_path / "runs"
    runs.mkdir(mode=0o555)
    done = as_anyone(tmp_path, "finetune", "--base", "lenet5", "--data", root, "--runs", runs)
    assert done.returncode == 1
    assert "no permission to write. Choose another place: --runs" in done.stderr
    assert "Checking photos" not in done.stderr


def test_a_cache_that_cant_be_written_is_named(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o555)
    arguments = ["finetune", "--base", "lenet5", "--runs", tmp_path / "runs"]
    done = as_anyone(tmp_path, *arguments, TLKIT_CACHE=str(tmp_path / "cache" / "deep"))
    assert done.returncode == 1
    assert "The embedded digits can't be written to" in done.stderr
    assert "Permission denied. Set TLKIT_CACHE to a folder that can be written" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_class_folder_that_cant_be_read_is_named(make_folder, tmp_path):
    root = make_folder(each=2)
    (root / "bees").chmod(0o000)
    done = as_anyone(tmp_path, "finetune", "--base", "lenet5", "--data", root, "--runs", tmp_path / "runs")
    (root / "bees").chmod(0o755)
    assert done.returncode == 1
    assert f"The folder {root / 'bees'} can't be read: Permission denied. Check its permissions." in done.stderr


def test_a_photo_that_cant_be_read_is_left_out_and_named(make_folder, tmp_path):
    root = make_folder(each=2)
    (root / "bees" / "000.png").chmod(0o000)
    arguments = ["finetune", "--base", "lenet5", "--strict", "--data", root, "--runs", tmp_path / "runs"]
    done = as_anyone(tmp_path, *arguments)
    assert done.returncode == 1
    assert "1 files in" in done.stderr
    assert "bees/000.png: can't be read (Permission denied)" in done.stderr
