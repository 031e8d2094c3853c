"""`tlkit runs`, on a run that was really trained."""

import io
import json
import shutil

import pytest
from click.testing import CliRunner

from tlkit.cli.main import cli, main
from tlkit.manifest import NAME


@pytest.fixture
def place(run, monkeypatch):
    monkeypatch.chdir(run.parent.parent)
    return run.parent


def test_runs_alone_lists_them(place, capsys):
    (place / "half").mkdir()
    assert main(["runs"]) == 0
    header, first, second, reason = capsys.readouterr().out.splitlines()
    wanted = ["run", "status", "base", "data", "accuracy", "photos", "artifacts", "created", "size"]
    assert header.split() == wanted
    by_name = {line.split()[0]: line for line in (first, second)}
    assert {"complete", "lenet5", "digits", "test", "1797"} <= set(by_name["lenet"].split())
    assert "broken" in by_name["half"]
    assert reason.startswith("half: runs/half is not a run: it has no run.json")
    assert main(["runs", "list", "--json"]) == main(["runs", "--json"]) == 0


def test_the_list_is_json_for_scripts(place, capsys):
    assert main(["runs", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["run"] == "runs/lenet"
    assert (one["base"], one["data"], one["photos"], one["accuracy_of"]) == ("lenet5", "digits", 1797, "test")
    assert one["bytes"] > 100_000


def test_without_runs_the_list_says_how_to_make_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    assert "There are no runs in" in capsys.readouterr().out
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_show_tells_what_a_run_was_made_from_and_what_came_out(place, capsys):
    assert main(["runs", "show"]) == 0
    out = capsys.readouterr().out
    titles = ("Status", "Command", "Base", "Weights", "Freeze", "Data", "Classes", "Photos", "Schedule")
    for title in (*titles, "Accuracy, val", "Accuracy, test", "hardest classes"):
        assert f"\n{title} " in out, title
    assert "10: 0, 1, 2, 3, 4, 5, 6, 7 and 2 more" in out
    assert "1259 train, 269 val, 269 test" in out
    assert main(["runs", "show", "lenet", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["split"] == {"train": 1259, "val": 269, "test": 269}


def test_show_names_the_artifacts_with_their_proof(place, capsys):
    manifest = json.loads((place / "lenet" / NAME).read_text())
    parity = {"images": 538, "top1_agreement": 0.998, "accuracy": 0.97}
    manifest["artifacts"] = [{"path": "artifacts/model.int8.tflite", "bytes": 80_000, "parity": parity}]
    (place / "lenet" / NAME).write_text(json.dumps(manifest))
    assert main(["runs", "show"]) == 0
    expected = "artifacts/model.int8.tflite (80.0 kB), agrees with Keras on 99.8% of 538 photos, accuracy 97.0%"
    assert expected in capsys.readouterr().out


def test_remove_asks_and_a_no_leaves_the_run(place):
    result = CliRunner().invoke(cli, ["runs", "remove", "lenet"], input="n\n")
    assert result.exit_code == 1
    assert "lenet (" in result.stderr
    assert "Remove this for good? [y/N]" in result.stderr
    assert result.stdout == ""
    assert (place / "lenet" / NAME).exists()
    result = CliRunner().invoke(cli, ["runs", "remove", "lenet"], input="y\n")
    assert result.exit_code == 0
    assert not (place / "lenet").exists()


def test_without_anybody_to_ask_nothing_is_removed(place, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["runs", "remove", "lenet"]) == 1
    assert "Error: Nothing was removed, for nobody is there to answer. Say --yes." in capsys.readouterr().err
    assert (place / "lenet" / NAME).exists()


def test_remove_names_what_it_removed_and_the_bytes(place, capsys):
    shutil.copytree(place / "lenet", place / "second")
    assert main(["runs", "remove", "--yes", "lenet", "second"]) == 0
    captured = capsys.readouterr()
    first, second = captured.out.splitlines()
    assert first.startswith(f"Removed {place / 'lenet'} (")
    assert second.startswith(f"Removed {place / 'second'} (")
    assert captured.err == ""
    assert list(place.iterdir()) == []


def test_if_one_of_several_cant_be_removed_none_is(place, capsys):
    assert main(["runs", "remove", "--yes", "lenet", "lenett"]) == 1
    captured = capsys.readouterr()
    assert "There is no run 'lenett', here or in runs/. Did you mean lenet" in captured.err
    assert captured.out == ""
    assert (place / "lenet" / NAME).exists()


def test_remove_prints_json(place, capsys):
    assert main(["runs", "remove", "--yes", "--json", "lenet"]) == 0
    ((removed),) = json.loads(capsys.readouterr().out)["removed"]
    assert removed["run"] == str(place / "lenet")
    assert removed["bytes"] > 100_000


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["runs", "lsit"], 2, "tlkit runs takes list, show, remove, not 'lsit'. Did you mean list"),
        (["runs", "remove"], 2, "Missing argument 'RUN...'"),
        (["runs", "show", "x"], 1, "There is no run 'x'"),
        (["runs", "show"], 1, "There is no run in"),
        (["runs", "remove", "--yes", "."], 1, "is no run: it has no run.json"),
    ],
)
def test_bad_input_gets_a_sentence(args, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(args) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
