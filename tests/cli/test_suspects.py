"""`tlkit suspects` as a user types it."""

import json
import subprocess
import sys

import pytest

from tlkit.cli.main import main

from ..conftest import tree
from ..test_suspects import swap


def test_the_clearest_are_printed_and_page_and_table_are_in_the_run(run, capsys):
    swapped = swap(run, 12)
    before = tree(run)
    assert main(["suspects", str(run), "--top", "3"]) == 0
    out = capsys.readouterr().out.splitlines()
    count = int(out[0].split()[2])
    assert out[0] == f"Suspicious labels    {count} of 538 photos (269 val, 269 test)"
    assert out[1].split() == ["photo", "split", "label", "model", "sees"]
    assert {line.split()[0] for line in out[2:5]} <= swapped
    assert out[5:] == [
        f"and {count - 3} more: --top N, or the files below",
        f"Look at them         {run / 'suspects.html'}",
        f"As a table           {run / 'suspects.csv'}",
        "Photos that it was trained on are looked at with --train.",
    ]
    after = tree(run)
    assert set(after) - set(before) == {"suspects.html", "suspects.csv"}
    assert all(after[name] == content for name, content in before.items())
    assert (run / "suspects.html").read_text().count("<img ") == count
    assert len((run / "suspects.csv").read_text().splitlines()) == count + 1


def test_json_has_all_of_them(run, tmp_path, capsys):
    swapped = swap(run, 12)
    assert main(["suspects", str(run), "--json", "--top", "1", "--html", str(tmp_path / "mine.html")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["run"], found["images"]) == (str(run), {"val": 269, "test": 269})
    assert (found["csv"], found["html"]) == (str(run / "suspects.csv"), str(tmp_path / "mine.html"))
    assert (tmp_path / "mine.html").is_file()
    assert not (run / "suspects.html").exists()
    assert len(swapped.intersection(one["path"] for one in found["suspects"])) >= 8
    first = found["suspects"][0]
    assert first["margin"] == pytest.approx(first["predicted_probability"] - first["label_probability"])


def test_the_newest_run_is_the_default_and_training_photos_an_option(run, monkeypatch, capsys):
    monkeypatch.chdir(run.parent.parent)
    assert main(["suspects", "--train"]) == 0
    out = capsys.readouterr().out
    assert "of 1,797 photos (1,259 train, 269 val, 269 test)" in out
    assert "The model has partly learned the labels of train by heart, so it contradicts fewer of those." in out
    assert "partly learned" in (run / "suspects.html").read_text()


def test_photos_that_are_gone_are_a_sentence(run, tmp_path, capsys):
    swap(run, 3)
    manifest = json.loads((run / "run.json").read_text())
    manifest["data"]["root"] = str(tmp_path / "gone")
    (run / "run.json").write_text(json.dumps(manifest))
    assert main(["suspects", str(run)]) == 1
    assert "or say where they are now: --data NEWROOT" in capsys.readouterr().err
    from tlkit.data.digits import digits_folder

    assert main(["suspects", str(run), "--data", str(digits_folder())]) == 0


def test_a_page_that_cant_be_written_is_a_sentence(run, tmp_path, capsys):
    assert main(["suspects", str(run), "--html", str(tmp_path / "nowhere" / "page.html")]) == 1
    assert f"Error: No such file or directory: {tmp_path / 'nowhere' / 'page.html'}" in capsys.readouterr().err


def test_it_imports_no_keras(run):
    code = (
        f"import sys\nfrom tlkit.cli.main import main\nmain(['suspects', {str(run)!r}])\n"
        "print(sorted({'tensorflow', 'keras', 'sklearn', 'scipy', 'h5py'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]"
