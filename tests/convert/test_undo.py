"""Several files become new together, or stay as they were."""

import os

import pytest

from tlkit.convert.undo import restored_on_failure

from ..conftest import tree


def change(folder, *, fail):
    with restored_on_failure(folder / "old", folder / "new"):
        for name in ("old", "new"):
            (folder / "part").write_text("changed")
            os.replace(folder / "part", folder / name)
        if fail:
            raise fail


@pytest.fixture(params=["links", "no links"])
def folder(request, tmp_path, monkeypatch):
    """A folder with one of the two files, on file systems with and without hard links."""
    (tmp_path / "old").write_text("as it was")
    if request.param == "no links":
        monkeypatch.setattr(os, "link", lambda *a: (_ for _ in ()).throw(PermissionError(1, "not permitted")))
    return tmp_path


@pytest.mark.parametrize("fail", [OSError(28, "full"), KeyboardInterrupt()], ids=repr)
def test_a_failure_brings_back_what_was_there(folder, fail):
    before = tree(folder)
    with pytest.raises(type(fail)):
        change(folder, fail=fail)
    assert tree(folder) == before


def test_success_leaves_the_new_files_alone(folder):
    change(folder, fail=None)
    assert tree(folder) == {"old": b"changed", "new": b"changed"}
