"""`tlkit predict` as a user types it."""

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tlkit.cli.main import main

from ..conftest import coloured, mutated_images

TLKIT = [sys.executable, "-m", "tlkit"]


@pytest.fixture
def digits():
    from tlkit.data.digits import digits_folder

    return digits_folder()


@pytest.fixture
def few(tmp_path, monkeypatch):
    """A folder with 3 photos, a broken one and a text file; the test runs beside it."""
    (tmp_path / "few").mkdir()
    for i in range(3):
        coloured(i, 0).save(tmp_path / "few" / f"{i}.png")
    (tmp_path / "few" / "broken.jpg").write_bytes(b"no")
    (tmp_path / "few" / "notes.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "few"


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_an_artifact_classifies_as_its_run_does(run, artifact, digits, capsys):
    photos = [str(path) for path in sorted((digits / "4").iterdir())[:6]]
    found = []
    for model in (run, artifact):
        assert main(["predict", "--json", "--model", str(model), *photos]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["run"] == str(run)
    assert found[1]["artifact"] == str(artifact)
    for one, same in zip(found[0]["predictions"], found[1]["predictions"], strict=True):
        assert (one["path"], one["class"]) == (same["path"], same["class"])
        assert one["top"][0]["probability"] == pytest.approx(same["top"][0]["probability"], abs=1e-4)


def test_one_photo_and_an_artifact_need_no_tensorflow(artifact, digits):
    photo = next((digits / "3").iterdir())
    code = (
        "import sys\nfrom tlkit.cli.main import main\n"
        f"code = main(['predict', '--top', '1', '--model', {str(artifact)!r}, {str(photo)!r}])\n"
        "heavy = sorted({'tensorflow', 'keras', 'sklearn', 'ai_edge_litert', 'rich'} & set(sys.modules))\n"
        "print(code, heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "0 []"
    assert done.stdout.startswith(f"{photo}\n  ")


def test_a_folder_is_searched_and_bad_files_are_reported(few, artifact, capsys):
    assert main(["predict", "--model", str(artifact), "--top", "1", "few"]) == 1
    captured = capsys.readouterr()
    assert [line for line in captured.out.splitlines() if not line.startswith(" ")] == [
        f"few/{i}.png" for i in range(3)
    ]
    assert "few/broken.jpg: not a JPEG" in captured.err
    assert "Error: 1 of 4 files could not be classified." in captured.err


def test_csv_has_a_row_for_every_file_and_a_column_for_errors(few, artifact, capsys):
    assert main(["predict", "--model", str(artifact), "--top", "2", "--csv", "few", "gone.png"]) == 1
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "path,class,probability,class_2,probability_2,error"
    rows = rows_of(out)
    assert [row["path"] for row in rows] == ["few/0.png", "few/1.png", "few/2.png", "few/broken.jpg", "gone.png"]
    assert float(rows[0]["probability"]) > float(rows[0]["probability_2"]) > 0
    assert rows[0]["error"] == ""
    assert rows[4]["error"] == "no such file"
    assert rows[4]["class"] == rows[4]["probability_2"] == ""


def test_csv_is_no_wider_than_the_model_has_classes_and_has_no_formulas(few, artifact, capsys):
    (few / "0.png").rename("=cmd().png")
    assert main(["predict", "--model", str(artifact), "--top", "99", "--csv", "=cmd().png"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.endswith(",class_10,probability_10,error")
    assert row.startswith("'=cmd().png,")


def test_below_the_threshold_a_photo_is_unknown(few, artifact, capsys):
    args = ["predict", "--model", str(artifact), "few/0.png", "--threshold"]
    assert main([*args, "1", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["predictions"]
    assert found["class"] == "unknown"
    assert found["top"][0]["class"] != "unknown"
    assert main([*args, "1", "--csv"]) == 0
    assert rows_of(capsys.readouterr().out)[0]["class"] == "unknown"
    assert main([*args, "1"]) == 0
    assert capsys.readouterr().out.startswith("few/0.png: unknown\n  ")
    assert main([*args, "0.01", "--json"]) == 0
    (same,) = json.loads(capsys.readouterr().out)["predictions"]
    assert same["class"] == same["top"][0]["class"]


def test_paths_come_from_standard_input(few, artifact):
    command = [*TLKIT, "predict", "--csv", "--model", str(artifact), "-"]
    done = subprocess.run(command, input="few/1.png\nfew/[02].png\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [row["path"] for row in rows_of(done.stdout)] == ["few/1.png", "few/0.png", "few/2.png"]


def test_mutated_photos_are_classified_or_reported(tmp_path, artifact, capsys):
    (tmp_path / "photos").mkdir()
    for i, content in enumerate(mutated_images(2000)):
        (tmp_path / "photos" / f"{i:04d}.jpg").write_bytes(content)
    assert main(["predict", "--csv", "--model", str(artifact), str(tmp_path / "photos")]) == 1
    captured = capsys.readouterr()
    rows = rows_of(captured.out)
    bad = [row for row in rows if row["error"]]
    assert len(rows) == 2000
    assert 100 < len(bad) < 1990
    assert all(bool(row["class"]) != bool(row["error"]) for row in rows)
    assert f"Error: {len(bad)} of 2000 files could not be classified." in captured.err
    assert "Predicting: 2,000 images" in captured.err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["few/0.png", "--csv", "--json"], 2, "--csv and --json exclude each other"),
        (["few/0.png", "--threshold", "1.5"], 2, "1.5 is not in the range 0<=x<=1"),
        (["MODEL"], 1, "model.tflite is a model, not a photo. Give it with: --model"),
        (["empty"], 1, "The folder empty has no image files"),
        (["*.png"], 1, "No file matches *.png"),
        (["gone.png", "away.png"], 1, "gone.png does not exist. Give the paths of photos."),
    ],
)
def test_bad_input_gets_a_sentence_and_an_exit_code(few, artifact, args, code, message, capsys):
    Path("empty").mkdir()
    given = [str(artifact) if arg == "MODEL" else arg for arg in args]
    assert main(["predict", "--model", str(artifact), *given]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("command", ["predict few/0.png --model", "evaluate --data few"])
def test_a_file_that_is_no_model_gets_a_sentence_through_every_command(few, artifact, command, capsys):
    whole = artifact.read_bytes()
    for content, message in (
        (b"", "is empty"),
        (b"Some text", "is not a TensorFlow Lite model"),
        (np.random.default_rng(0).bytes(3000), "is not a TensorFlow Lite model"),
        (whole[: len(whole) // 2], "carries no labels"),
    ):
        Path("m.tflite").write_bytes(content)
        assert main([*command.split(), "m.tflite"]) == 1
        captured = capsys.readouterr()
        assert f"Error: m.tflite {message}" in captured.err
        assert captured.out == ""


def test_ctrl_c_keeps_every_finished_row_and_leaves_no_process(artifact, digits, tmp_path):
    command = [*TLKIT, "predict", "--csv", "--model", artifact, *[digits] * 40]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    head = [process.stdout.readline() for _ in range(100)]
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in err
    rows = rows_of("".join(head) + out)
    assert 99 <= len(rows) < 40 * 1797
    assert all(row["class"] and row["error"] == "" for row in rows)
    assert len(children) == 1
    assert not Path(f"/proc/{children[0]}").exists()


def test_a_live_bar_does_not_swallow_the_results(artifact, digits, tmp_path):
    """A live bar on stderr takes the place of stdout, too, while it is drawn."""
    ours, theirs = pty.openpty()
    command = [*TLKIT, "predict", "--csv", "--model", artifact, digits / "3"]
    with (tmp_path / "found.csv").open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    assert process.wait() == 0
    assert len(rows_of((tmp_path / "found.csv").read_text())) == len(list((digits / "3").iterdir()))
    assert b"Predicting" in shown
    assert b"0001.png" not in shown


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
