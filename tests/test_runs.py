"""Runs are listed whatever their state, and removed with care."""

import json
import os

import pytest

from tlkit import runs as module
from tlkit.errors import RunError, TlkitError
from tlkit.lock import exclusive
from tlkit.manifest import NAME, newest_run
from tlkit.runs import list_runs, remove_run, run_to_show, runs_to_remove

from .test_manifest import make_run


def change(folder, **values):
    path = folder / NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_runs_are_listed_newest_first_and_broken_ones_with_the_reason(tmp_path):
    make_run(tmp_path, "z-old", base="vgg16", data={"root": "/photos/birds"})
    make_run(tmp_path, "a-new", status="running")
    broken = make_run(tmp_path, "broken")
    (broken / NAME).write_text("{")
    os.utime(broken, (1, 1))
    (tmp_path / "empty").mkdir()
    os.utime(tmp_path / "empty", (0, 0))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "note.txt").write_text("")
    new, old, second, last = list_runs(tmp_path)
    assert [run.folder.name for run in (new, old, second, last)] == ["a-new", "z-old", "broken", "empty"]
    assert (new.about["status"], old.about["base"], old.about["data"]) == ("running", "vgg16", "birds")
    assert (new.problem, second.about) == (None, None)
    assert "run.json is broken" in second.problem
    assert "is not a run: it has no run.json" in last.problem
    assert old.bytes == (old.folder / NAME).stat().st_size
    assert list_runs(tmp_path / "nowhere") == []


def test_the_accuracy_is_that_on_test_or_else_on_val(tmp_path):
    val, test = {"accuracy": 0.5, "images": 4}, {"accuracy": 0.25, "images": 8}
    photo = {"path": "a", "label": 0, "sha256": "x"}
    split = {"train": [photo] * 3, "val": [photo], "test": []}
    make_run(tmp_path, "a", metrics={"val": val, "test": test}, split=split)
    make_run(tmp_path, "b", metrics={"val": val, "test": None}, artifacts=[{"path": "artifacts/m.tflite"}])
    make_run(tmp_path, "c")
    none, on_val, on_test = (run.about for run in list_runs(tmp_path))
    assert (on_test["accuracy"], on_test["accuracy_of"], on_test["photos"]) == (0.25, "test", 4)
    assert (on_val["accuracy"], on_val["accuracy_of"], on_val["artifacts"]) == (0.5, "val", ["m.tflite"])
    assert (none["accuracy"], none["accuracy_of"]) == (None, None)


@pytest.mark.parametrize("values", [{"created": "yesterday"}, {"metrics": {"test": 1}}, {"artifacts": [{"path": 1}]}])
def test_a_manifest_that_is_odd_inside_is_listed_as_broken(tmp_path, values):
    change(make_run(tmp_path, "a"), **values)
    (run,) = list_runs(tmp_path)
    assert "is broken" in run.problem
    assert run.to_dict()["status"] == "broken"


def test_the_run_to_show_is_the_newest_of_any_status(tmp_path):
    make_run(tmp_path, "done")
    newest = make_run(tmp_path, "under-way", status="running")
    (make_run(tmp_path, "broken") / NAME).write_text("")
    assert run_to_show(None, tmp_path) == newest
    assert run_to_show("done", tmp_path) == tmp_path / "done"
    with pytest.raises(RunError, match="There is no run 'don', here or in .*Did you mean done"):
        run_to_show("don", tmp_path)
    with pytest.raises(RunError, match="There is no run in .*Make one with: tlkit finetune"):
        run_to_show(None, tmp_path / "nowhere")


def test_a_name_that_begins_with_a_dot_is_no_run(tmp_path):
    make_run(tmp_path, "a").rename(tmp_path / ".a")
    with pytest.raises(RunError, match="There is no complete run"):
        newest_run(tmp_path)
    with pytest.raises(RunError, match="is no run"):
        runs_to_remove((".a",), tmp_path)


def test_a_run_is_removed_with_all_that_is_in_it(tmp_path):
    folder = make_run(tmp_path, "a")
    (folder / "artifacts").mkdir()
    (folder / "artifacts" / "m.tflite").write_bytes(b"x" * 1000)
    size = 1000 + (folder / NAME).stat().st_size
    (chosen,) = runs_to_remove(("a", str(folder)), tmp_path)
    assert remove_run(chosen) == size
    assert not chosen.exists()


def test_links_inside_a_run_are_removed_and_never_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "photo.jpg").write_text("x")
    folder = make_run(tmp_path / "runs", "a")
    (folder / "data").symlink_to(precious)
    (folder / "deep").mkdir()
    (folder / "deep" / "data").symlink_to(precious)
    remove_run(folder)
    assert not folder.exists()
    assert (precious / "photo.jpg").exists()


def test_a_link_to_a_run_is_not_removed(tmp_path):
    folder = make_run(tmp_path / "elsewhere", "a")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a").symlink_to(folder)
    with pytest.raises(RunError, match="is a link to .*Nothing is removed through links"):
        runs_to_remove(("a",), tmp_path / "runs")
    assert (folder / NAME).exists()


def test_what_is_no_run_is_not_removed(tmp_path):
    make_run(tmp_path, "flowers")
    (tmp_path / "flower").mkdir()
    (tmp_path / "flower" / "precious").touch()
    with pytest.raises(RunError, match="is no run: it has no run.json, so nothing was removed. Did you mean flowers"):
        runs_to_remove(("flower",), tmp_path)
    with pytest.raises(RunError, match="is no run"):
        runs_to_remove((str(tmp_path),), tmp_path)


def test_an_empty_folder_is_removed_where_runs_are_and_nowhere_else(tmp_path):
    (tmp_path / "runs" / "early").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    assert remove_run(*runs_to_remove(("early",), tmp_path / "runs")) == 0
    with pytest.raises(RunError, match="is no run"):
        runs_to_remove((str(tmp_path / "empty"),), tmp_path / "runs")


def test_a_broken_run_can_be_removed(tmp_path):
    folder = make_run(tmp_path, "a")
    (folder / NAME).write_text("{")
    remove_run(*runs_to_remove(("a",), tmp_path))
    assert not folder.exists()


def test_a_run_that_is_being_trained_is_not_removed(tmp_path):
    with (
        exclusive(make_run(tmp_path, "a")),
        pytest.raises(RunError, match="is being trained right now. Stop the training first"),
    ):
        runs_to_remove(("a",), tmp_path)
    assert runs_to_remove(("a",), tmp_path) == [tmp_path / "a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
def test_what_cant_be_removed_leaves_a_run_that_can_be_removed_again(tmp_path):
    folder = make_run(tmp_path, "a")
    (folder / "locked").mkdir()
    (folder / "locked" / "file").write_text("")
    (folder / "locked").chmod(0o500)
    with pytest.raises(TlkitError, match="could not be removed completely: Permission denied"):
        remove_run(folder)
    assert (folder / NAME).exists()
    (folder / "locked").chmod(0o700)
    remove_run(*runs_to_remove(("a",), tmp_path))
    assert not folder.exists()


def test_an_interrupted_removal_leaves_a_run_that_can_be_removed_again(tmp_path, monkeypatch):
    folder = make_run(tmp_path, "a")
    for name in ("artifacts", "zoo"):
        (folder / name).mkdir()

    def interrupted(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module.shutil, "rmtree", interrupted)
        remove_run(folder)
    remove_run(*runs_to_remove(("a",), tmp_path))
    assert not folder.exists()
