"""`tlkit cache`, on what a real training left there."""

import json

import pytest
from click.testing import CliRunner

from tlkit.cli.main import cli, main
from tlkit.data.cache import entries

from ..data.test_cache import add, key, locked


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def trained(folder, tmp_path, make_folder):
    """The cache after a training with frozen stages."""
    from tlkit.transfer.finetune import finetune
    from tlkit.transfer.options import FinetuneOptions

    options = {"base": "lenet5", "weights": "none", "freeze": "all-but-head", "epochs": 1}
    finetune(FinetuneOptions(**options, data=make_folder(each=6), runs=tmp_path / "runs"))
    return folder


def test_cache_alone_shows_what_training_left(trained, capsys):
    assert main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Folder   {trained}"
    assert lines[1].startswith("Limit    ")
    assert lines[1].endswith("(the default)")
    assert lines[3].split() == ["what", "base", "up", "to", "images", "last", "used", "size"]
    assert lines[4].startswith("features")
    assert " 18 " in lines[4]
    assert len(lines) == 5
    assert main(["cache", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    (entry,) = shown["entries"]
    assert (entry["what"], entry["images"], entry["in_use"]) == ("features", 18, False)
    assert shown["bytes"] == entry["bytes"] > 0


def test_cleared_features_are_computed_again(trained, capsys, tmp_path):
    (entry,) = entries()
    assert main(["cache", "clear", "--yes"]) == 0
    assert f"({entry.bytes:,} bytes) in {trained}" in capsys.readouterr().out
    assert entries() == []


def test_clear_asks_names_what_is_left_and_says_how_much_it_freed(folder, capsys):
    add(folder, key("a"), 2_000_000, 100)
    path = add(folder, key("b") + ".partial", 1_000, 100)
    result = CliRunner().invoke(cli, ["cache", "clear"], input="n\n")
    assert result.exit_code == 1
    assert f"{folder} (2.0 MB)\nRemove this for good? [y/N]" in result.stderr
    with locked(folder, "b"):
        assert main(["cache", "clear", "--yes"]) == 0
        freed, left = capsys.readouterr().out.splitlines()
        assert freed == f"Freed 2.0 MB (2,000,000 bytes) in {folder}"
        assert left == f"Left {path} (1.0 kB): a process is working on it"
        assert main(["cache", "clear", "--yes", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"freed": 0, "left": [str(path)]}


def test_an_empty_cache_is_cleared_without_a_question(capsys):
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out.startswith("Freed 0 B (0 bytes)")


def test_the_limit_is_printed_set_and_reset(capsys):
    assert main(["cache", "limit", "2MB"]) == 0
    assert capsys.readouterr().out == "2.0 MB (as set)\n"
    assert main(["cache", "limit"]) == 0
    assert capsys.readouterr().out == "2.0 MB (as set)\n"
    assert main(["cache", "limit", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"limit": 2_000_000, "set": 2_000_000}
    assert main(["cache", "limit", "999999TB"]) == 0
    assert "(set to 999,999,000.0 GB, but the disk has no more)" in capsys.readouterr().out
    assert main(["cache", "limit", "default"]) == 0
    assert capsys.readouterr().out.endswith("(the default)\n")


def test_a_limit_that_is_no_size_is_refused_and_changes_nothing(folder, capsys):
    assert main(["cache", "limit", "20"]) == 2
    captured = capsys.readouterr()
    assert "Error: '20' is no size. Write a number and a unit" in captured.err
    assert captured.out == ""
    assert not folder.exists()


def test_training_above_the_limit_goes_uncached_and_says_so(tmp_path, make_folder, capsys):
    assert main(["cache", "limit", "10B"]) == 0
    args = ["--base", "lenet5", "--weights", "none", "--freeze", "all-but-head", "--epochs", "1"]
    assert main(["finetune", *args, "--data", str(make_folder(each=6)), "--runs", str(tmp_path / "runs")]) == 0
    assert "Training goes uncached and so slower: the features would take" in capsys.readouterr().err
