"""Contract 1: run folders are whole, named plainly and validated when read."""

import json

import pytest

from tlkit.errors import RunError
from tlkit.manifest import (
    NAME,
    create_run,
    find_run,
    new_manifest,
    newest_run,
    read_manifest,
    replacing,
    write_manifest,
)
from tlkit.manifest_fields import FIELDS


def manifest(**values):
    filled = {
        field: (0 if int in types else "" if str in types else [] if list in types else {})
        for field, types in FIELDS.items()
    }
    filled |= {"classes": ["a", "b"], "data": {"root": "x"}, "split": {"train": [], "val": [], "test": []}}
    del filled["schema"], filled["created"], filled["status"]
    return new_manifest(**{**filled, "task": "single_label", **values})


def make_run(runs, name, status="complete", **values):
    folder = create_run(runs, name, base="lenet5", data="digits")
    write_manifest(folder, manifest(status=status, **values))
    return folder


def test_a_manifest_survives_its_file(tmp_path):
    folder = make_run(tmp_path, "a", classes=["été", "雪"])
    assert read_manifest(folder)["classes"] == ["été", "雪"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("new, half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_is_named_by_time_base_and_data(tmp_path):
    folder = create_run(tmp_path, None, base="vgg16", data="my photos/é")
    assert folder.name.endswith("-vgg16-my-photos-é")
    assert create_run(tmp_path, None, base="vgg16", data="my photos/é") != folder


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", ".hidden", "", "x" * 101, "a\nb", "nul", "a.", "what?"])
def test_a_name_that_is_no_plain_folder_name_is_refused(tmp_path, name):
    if name == "":
        return  # the same as no name
    with pytest.raises(RunError, match="can't be the name of a run"):
        create_run(tmp_path, name, base="a", data="b")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused(tmp_path):
    make_run(tmp_path, "a")
    with pytest.raises(RunError, match="exists already. Choose another --name"):
        create_run(tmp_path, "a", base="a", data="b")


def test_a_place_that_cant_hold_runs_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Can't make the run folder .*Choose another place: --runs"):
        create_run(tmp_path / "file" / "runs", "a", base="a", data="b")


def test_the_newest_run_is_the_one_begun_last_that_is_complete(tmp_path):
    make_run(tmp_path, "z-old")
    newest = make_run(tmp_path, "b-new")
    make_run(tmp_path, "unfinished", status="running")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / NAME).write_text("{")
    (tmp_path / "note.txt").write_text("")
    assert newest_run(tmp_path) == newest
    assert find_run(None, tmp_path) == newest


def test_a_run_is_found_by_path_and_by_name(tmp_path):
    folder = make_run(tmp_path, "mine")
    assert find_run("mine", tmp_path) == find_run(folder, tmp_path / "elsewhere") == folder


def test_without_runs_the_message_says_how_to_make_one(tmp_path):
    with pytest.raises(RunError, match="There is no complete run in .*Make one with: tlkit finetune"):
        newest_run(tmp_path / "runs")
    make_run(tmp_path / "runs", "a", status="running")
    with pytest.raises(RunError, match="1 unfinished or broken"):
        newest_run(tmp_path / "runs")


def test_an_unknown_run_gets_a_suggestion(tmp_path):
    make_run(tmp_path, "flowers")
    with pytest.raises(RunError, match="There is no run 'flower'.*Did you mean flowers"):
        find_run("flower", tmp_path)


def test_an_unfinished_run_is_refused(tmp_path):
    folder = make_run(tmp_path, "a", status="running")
    with pytest.raises(RunError, match="is not complete .its status: running"):
        find_run(folder, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is broken"),
        ("[]", "is not a manifest of tlkit"),
        ('{"schema": 99}', "was written by a newer tlkit .schema 99, this one reads 1.. Upgrade"),
        ('{"schema": 1}', "is broken: it has no 'status'"),
    ],
)
def test_a_manifest_that_is_not_one_is_refused(tmp_path, text, message):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(RunError, match=message):
        read_manifest(tmp_path)


def test_a_field_of_the_wrong_type_is_refused(tmp_path):
    folder = make_run(tmp_path, "a")
    values = json.loads((folder / NAME).read_text())
    values["classes"] = "cats"
    (folder / NAME).write_text(json.dumps(values))
    with pytest.raises(RunError, match="'classes' is of type str"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"split": {}},
        {"split": {"train": [{"path": "a"}], "val": [], "test": []}},
        {"data": {}},
        {"classes": ["a"]},
        {"classes": [1, 2]},
        {"artifacts": ["x"]},
    ],
    ids=str,
)
def test_a_manifest_that_is_not_whole_inside_is_refused(tmp_path, change):
    folder = make_run(tmp_path, "a")
    values = json.loads((folder / NAME).read_text()) | change
    (folder / NAME).write_text(json.dumps(values))
    (name,) = change
    with pytest.raises(RunError, match=f"is broken: '{name}' is not whole, .*. Restore it from a copy"):
        read_manifest(folder)


def test_a_run_is_not_hidden_by_a_folder_of_its_name(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "runs", "ants")
    (tmp_path / "ants").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_run("ants", tmp_path / "runs") == folder


def test_a_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a run: it has no run.json"):
        read_manifest(tmp_path)
