"""The cache keeps its limit, removes only what is its own, and nothing that a process is working on."""

import fcntl
import json
import os

import pytest

from tlkit.data import cache
from tlkit.data.cache import change_limit, clear, entries, limit, make_room, set_limit
from tlkit.errors import TlkitError

MB = 10**6


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def key(name):
    return f"{name:0>64}"


def add(folder, name, size, used, **about):
    """Writes a set of features that was last used at a time."""
    path = folder / "features" / name
    path.mkdir(parents=True)
    (path / "features.npy").write_bytes(b"x" * size)
    if about:
        (path / "about.json").write_text(json.dumps(about))
    os.utime(path, (used, used))
    return path


def names():
    return [entry.path.name.strip("0") for entry in entries()]


def test_an_empty_cache_has_no_entries_and_is_cleared(folder):
    assert entries() == []
    assert clear() == ([], [])
    assert not folder.exists()


def test_entries_are_listed_by_last_use_with_what_is_known_of_them(folder):
    add(folder, key("a"), 10, 100, base="vgg16", images=7)
    add(folder, key("b"), 20, 300)
    add(folder, key("c") + ".partial", 5, 200)
    (folder / "features" / key("b") / "about.json").write_text("[")
    os.utime(folder / "features" / key("b"), (300, 300))
    (folder / "digits-v1" / "3").mkdir(parents=True)
    (folder / "digits-v1" / "3" / "0.png").write_bytes(b"x" * 8)
    os.utime(folder / "digits-v1", (50, 50))
    found = entries()
    assert [(e.kind, e.used) for e in found] == [
        ("features", 300),
        ("unfinished", 200),
        ("features", 100),
        ("digits", 50),
    ]
    assert found[2].about == {"base": "vgg16", "images": 7}
    assert (found[0].about, found[3].bytes) == ({}, 8)


def test_the_least_recently_used_features_make_room_for_new_ones(folder):
    for i, name in enumerate("abcd"):
        add(folder, key(name), 3 * MB, 100 + i)
    os.utime(folder / "features" / key("a"), (900, 900))  # as reading does
    change_limit(13 * MB)
    assert make_room(1 * MB) is None
    assert names() == ["a", "d", "c", "b"]
    assert make_room(4 * MB) is None
    assert names() == ["a", "d", "c"]
    assert make_room(13 * MB) is None
    assert names() == []


def test_what_cant_fit_at_all_evicts_nothing(folder):
    add(folder, key("a"), 3 * MB, 100)
    change_limit(10 * MB)
    assert make_room(11 * MB) == "the features would take 11.0 MB, the limit of the cache is 10.0 MB"
    assert names() == ["a"]


def test_an_unfinished_pass_makes_room_like_the_rest(folder):
    add(folder, key("a") + ".partial", 3 * MB, 100)
    add(folder, key("b"), 3 * MB, 200)
    change_limit(7 * MB)
    assert make_room(2 * MB) is None
    assert names() == ["b"]


def locked(folder, name):
    place = folder / "features" / ".tlkit"
    place.mkdir(exist_ok=True)
    file = (place / f"{key(name)}.lock").open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


@pytest.mark.parametrize("suffix", ["", ".partial"])
def test_what_a_process_is_working_on_is_neither_evicted_nor_cleared(folder, suffix):
    path = add(folder, key("a") + suffix, 3 * MB, 100)
    other = add(folder, key("b"), 3 * MB, 200)
    change_limit(7 * MB)
    with locked(folder, "a"):
        reason = (
            "the features would take 5.0 MB, the limit of the cache is 7.0 MB and 3.0 MB of it can't be removed now"
        )
        assert make_room(5 * MB) == reason
        assert make_room(4 * MB) is None
        assert path.exists()
        assert not other.exists()
        removed, left = clear()
        assert (removed, [entry.path for entry in left]) == ([], [path])
    removed, left = clear()
    assert ([entry.path for entry in removed], left) == ([path], [])
    assert entries() == []


def test_temporary_folders_count_once_their_process_is_gone(folder):
    add(folder, f".{'a' * 16}.{os.getpid()}.abcdef", 10, 100)
    add(folder, f".{'b' * 16}.{2**22 + 1}.abcdef", 10, 200)
    (folder / ".digits-v1.99999999.abcdef").mkdir()
    assert [(entry.kind, entry.in_use) for entry in entries()[1:]] == [("unfinished", False), ("unfinished", True)]
    clear()
    assert [path.name for path in folder.rglob(".*")] == [f".{'a' * 16}.{os.getpid()}.abcdef"]


def test_clearing_keeps_the_limit_and_all_that_is_not_the_caches_own(folder):
    add(folder, key("a"), 10, 100)
    (folder / "digits-v1").mkdir()
    change_limit(5 * MB)
    mine = [folder / "thesis.txt", folder / "features" / "results.csv", folder / "features" / "notes.lock"]
    for path in mine:
        path.write_text("mine")
    (folder / "features" / "mine").mkdir()
    removed, left = clear()
    assert ({entry.kind for entry in removed}, left) == ({"features", "digits"}, [])
    assert all(path.exists() for path in [*mine, folder / "features" / "mine"])
    assert set_limit() == 5 * MB


def test_a_link_in_the_cache_is_removed_and_not_followed(folder, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "photo.jpg").write_text("x")
    (folder / "features").mkdir(parents=True)
    (folder / "features" / key("a")).symlink_to(tmp_path / "precious")
    clear()
    assert [path.name for path in (folder / "features").iterdir()] == [".tlkit"]
    assert (tmp_path / "precious" / "photo.jpg").exists()


def test_the_limit_is_kept_until_it_is_reset(folder):
    assert set_limit() is None
    change_limit(20 * MB)
    assert (set_limit(), limit(0)) == (20 * MB, 20 * MB)
    change_limit(None)
    assert set_limit() is None
    (folder / "settings.json").write_text("not json")
    assert set_limit() is None


def test_the_default_limit_is_32_gib_or_half_of_what_the_cache_leaves_free(monkeypatch):
    monkeypatch.setattr(cache, "_free", lambda: 2**40)
    assert limit(0) == 32 * 2**30
    monkeypatch.setattr(cache, "_free", lambda: 6 * MB)
    assert limit(0) == 3 * MB
    assert limit(2 * MB) == 4 * MB
    change_limit(10**12)
    assert limit(2 * MB) == 8 * MB  # no limit makes a disk larger


def test_a_cache_that_cant_be_made_is_no_room_and_keeps_no_limit(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "file" / "cache"))
    assert "can't be made" in make_room(1)
    with pytest.raises(TlkitError, match="The limit can't be kept in .*TLKIT_CACHE moves the cache"):
        change_limit(5)
