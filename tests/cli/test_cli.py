"""Commands as a user types them, in processes of their own."""

import json
import os
import pty
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tlkit import __version__
from tlkit.cli.main import COMMANDS, cli, main
from tlkit.manifest import run_folders
from tlkit.models import registry

from ..conftest import ROOT, coloured

TLKIT = [sys.executable, "-m", "tlkit"]
REFERENCE = runpy.run_path(str(ROOT / "docs" / "make_commands.py"), run_name="reference")


def tlkit(*args, cwd, **env):
    return subprocess.run(
        [*TLKIT, *map(str, args)], cwd=cwd, capture_output=True, text=True, env={**os.environ, **env}, timeout=400
    )


@pytest.mark.parametrize("path", REFERENCE["paths"](), ids=" ".join)
def test_every_command_has_help_an_example_json_and_a_docs_entry(path):
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert f"Example:\n    tlkit {' '.join(path)}" in result.output
    assert "--json" in result.output
    assert f"## tlkit {' '.join(path)}\n" in (ROOT / "docs" / "commands.md").read_text()


def test_every_command_is_in_the_order_of_use_and_subcommands_follow_theirs():
    paths = REFERENCE["paths"]()
    assert [path[0] for path in paths if len(path) == 1] == list(COMMANDS)
    assert [path for path in paths if path[0] == "runs"] == [
        ("runs",),
        ("runs", "list"),
        ("runs", "show"),
        ("runs", "remove"),
    ]


def test_the_command_reference_is_what_help_prints():
    text = (ROOT / "docs" / "commands.md").read_text()
    for path in REFERENCE["paths"]():
        what = f"docs/commands.md is out of date: run python docs/make_commands.py ({' '.join(path)})"
        assert REFERENCE["help_of"](path) in text, what
    assert REFERENCE["reference"]() == text


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["models"],
        ["models", "vgg16"],
        ["models", "--json"],
        ["summary", "--compare", "vgg16", "mobilenet_v2"],
        ["summary", "--help"],
        ["finetune", "--help"],
        ["--version"],
        ["runs"],
        ["runs", "--json"],
        ["runs", "show", "--help"],
        ["cache"],
        ["cache", "limit"],
        ["cache", "clear", "--yes"],
        ["weights"],
        ["doctor", "--help"],
        ["inspect", "--help"],
    ],
    ids=" ".join,
)
def test_light_commands_import_no_tensorflow(args, tmp_path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    code = (
        "import sys\nfrom tlkit.cli.main import main\n"
        f"code = main({args!r})\n"
        "heavy = sorted({'tensorflow', 'keras', 'numpy', 'sklearn', 'h5py'} & set(sys.modules))\n"
        "print(code, heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "0 []"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tlkit, version {__version__}\n"


def test_models_lists_names_parameters_and_stages(capsys):
    assert main(["models"]) == 0
    assert "138,357,544" in capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"lenet5", "vgg16", "mobilenet_v2"} <= {one["name"] for one in listed}
    assert main(["models", "mobilenet_v2"]) == 0
    assert "stem, stage1, stage2, stage3, stage4, stage5, head" in capsys.readouterr().out


@pytest.mark.parametrize("name", [architecture.name for architecture in registry.ARCHITECTURES])
def test_every_architecture_is_shown(name, capsys):
    assert main(["models", name]) == 0
    shown = capsys.readouterr().out
    assert "None" not in shown
    assert main(["models", name, "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["name"] == name
    published = registry.find(name).published
    if published is not None and published.megabytes is None:
        assert f"imagenet, size not stated, {published.licence}" in shown


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["fintune"], 2, "There is no command 'fintune'. Did you mean finetune"),
        (["finetune"], 2, "Missing option '--base'"),
        (["finetune", "--bas", "x"], 2, "No such option '--bas'. (Did you mean one of: '--base'"),
        (["finetune", "--base", "vgg16", "--epochs", "0"], 2, "0 is not in the range x>=1"),
        (["finetune", "--base", "vgg16", "--epochs", "x"], 2, "'x' is not a valid integer"),
        (["finetune", "--base", "vgg16", "--head", "x"], 2, "'x' is not one of 'gap', 'original'"),
        (["finetune", "--base", "vgg16", "--freeze", "x"], 2, "--freeze takes all-but-head"),
        (["finetune", "--base", "vgg_16"], 1, "no architecture called 'vgg_16'. Did you mean vgg16"),
        (["finetune", "--base", "vgg16", "--data", "nowhere"], 1, "There is no folder nowhere"),
        (["models", "lenet"], 1, "no architecture called 'lenet'. Did you mean lenet5"),
        (["predict", "a.jpg"], 1, "There is no complete run in"),
        (["predict"], 2, "Missing argument 'PHOTOS...'"),
        (["predict", "--run", "x", "a.jpg"], 1, "There is no run 'x'"),
        (["export", "--to", "tflite"], 1, "There is no complete run in"),
        (["export"], 2, "Missing option '--to'"),
        (["export", "--to", "onnx"], 2, "--to takes tflite, not 'onnx'"),
        (["export", "--to", "tflite", "--precision", "int9"], 2, "not 'int9'. Did you mean int8"),
        (["finetune", "--base", "lenet5", "--name", "../x"], 1, "can't be the name of a run"),
        (["finetune", "--base", "lenet5", "--name", ""], 1, "can't be the name of a run"),
        (["finetune", "--base", "lenet5", "--runs", "/etc/hostname"], 1, "Choose another place: --runs"),
        (["finetune", "--base", "vgg16", "--head", "gap", "--input-size", "999999"], 2, "1<=x<=2048"),
        (["finetune", "--base", "lenet5", "--seed", "99999999999"], 2, "is not in the range"),
        (["finetune", "--base", "lenet5", "--freeze", ""], 2, "--freeze takes all-but-head"),
    ],
)
def test_bad_input_gets_a_sentence_and_an_exit_code(args, code, message, check_refused):
    check_refused(args, code, message)


def test_predict_gives_the_top_classes_of_the_newest_run(run, monkeypatch, capsys):
    from tlkit.data.digits import digits_folder

    monkeypatch.chdir(run.parent.parent)
    photo = next((digits_folder() / "3").iterdir())
    assert main(["predict", str(photo), "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(photo)
    assert lines[1].split()[1] == "3"
    assert len(lines) == 3
    assert main(["predict", str(photo), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["predictions"]
    assert found["top"][0]["class"] == "3"
    assert len(found["top"]) == 5
    assert sum(entry["probability"] for entry in found["top"]) <= 1.0001


def test_a_file_that_cant_be_read_is_reported_and_the_rest_done(run, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(run.parent.parent)
    coloured(0, 0).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_bytes(b"")
    assert main(["predict", "good.png", "bad.jpg", "gone.jpg"]) == 1
    captured = capsys.readouterr()
    assert "good.png" in captured.out
    assert "bad.jpg: empty file" in captured.err
    assert "gone.jpg: no such file" in captured.err
    assert "Error: 2 of 3 files could not be classified." in captured.err


def test_many_photos_are_classified_as_one_by_one(run, monkeypatch, capsys):
    from tlkit.data.digits import digits_folder

    monkeypatch.chdir(run.parent.parent)
    photos = sorted(map(str, (digits_folder() / "7").iterdir()))[:40]
    together = []
    for paths in (photos, photos[:1], photos[-1:]):
        assert main(["predict", "--json", *paths]) == 0
        together.append(json.loads(capsys.readouterr().out)["predictions"])
    everything, first, last = together
    for one, same in ((first[0], everything[0]), (last[0], everything[-1])):
        assert one["top"][0]["class"] == same["top"][0]["class"]
        assert one["top"][0]["probability"] == pytest.approx(same["top"][0]["probability"], abs=1e-5)


def test_the_demand_of_the_lectures_works_word_for_word_without_a_network(tmp_path):
    done = tlkit(*"finetune --base vgg16 --classes 10 --freeze all-but-head".split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "goes on with RANDOM weights" in done.stderr
    assert "Test accuracy" in done.stdout
    (run,) = run_folders(tmp_path / "runs")
    manifest = json.loads((run / "run.json").read_text())
    assert manifest["weights"] == {"source": "none", "sha256": None, "requested": "imagenet"}
    assert manifest["preprocess"]["input_size"] == 32
    assert manifest["freeze"]["frozen_stages"] == [f"stage{i}" for i in range(1, 6)]
    done = tlkit(*"export --to tflite".split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Proven on            538 photos" in done.stdout
    assert (run / "artifacts" / "model.float32.tflite").is_file()


def test_commands_print_results_on_stdout_progress_on_stderr_and_no_noise(tmp_path, make_folder):
    root = make_folder(each=8)
    args = ["finetune", "--base", "mobilenet_v2", "--data", root, "--weights", "none", "--freeze", "all-but-head"]
    done = tlkit(*args, "--input-size", 32, "--epochs", 2, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["status"] == "complete"
    assert "split" not in found
    done = tlkit("export", "--to", "tflite", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["parity"]["max_probability_difference"] < 1e-4
    known = (
        "Checking photos",
        "3 classes;",
        "Frozen stages",
        "Training:",
        "Warning: --freeze",
        "Converting",
        "Proving",
    )
    assert [line for line in done.stderr.splitlines() if not line.startswith(known)] == []


def test_short_of_the_limit_is_exit_code_3(run):
    args = ["export", "--to", "tflite", "--precision", "int8", "--min-agreement", "1", "--max-drop", "0"]
    done = tlkit(*args, "--calibration", "20", "--json", cwd=run.parent.parent)
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("Error: model.int8.tflite was not made. On 538 photos")


def test_on_a_terminal_a_live_bar_is_drawn(tmp_path, make_folder):
    root = make_folder(each=8)
    ours, theirs = pty.openpty()
    args = ["finetune", "--base", "lenet5", "--data", root, "--epochs", "3"]
    process = subprocess.Popen(
        [*TLKIT, *map(str, args)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    assert process.wait() == 0
    text = shown.decode(errors="replace")
    assert "Training" in text
    assert "\x1b[" in text
    assert "validation accuracy" in text


def test_python_m_tlkit_is_the_same_command(tmp_path):
    assert tlkit("--version", cwd=tmp_path).stdout == f"tlkit, version {__version__}\n"
    assert Path(sys.executable).with_name("tlkit").exists()
