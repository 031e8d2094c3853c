"""`tlkit summary` and `tlkit models`: what is printed, and what it costs to print it."""

import json
import os
import re
import subprocess
import sys

import pytest

from tlkit.cli import common
from tlkit.cli.figures import Sources, markdown_table, per_cent
from tlkit.cli.main import main
from tlkit.cli.models import verified_text
from tlkit.models import registry
from tlkit.models.architecture import Accuracy

from ..conftest import ROOT

NAMES = [architecture.name for architecture in registry.ARCHITECTURES]
WIDTH = 120  # columns


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Nobody's terminal decides about columns."""
    monkeypatch.delenv("COLUMNS", raising=False)


def printed(capsys, *args):
    assert main(list(args)) == 0
    return capsys.readouterr().out


def test_models_lists_size_cost_accuracy_and_its_source(capsys):
    lines = printed(capsys, "models").splitlines()
    (vgg16,) = [line for line in lines if line.startswith("vgg16 ")]
    assert vgg16.split()[:5] == ["vgg16", "138,357,544", "15,470.3", "553.4", "224"]
    number = re.search(r"74\.4 / 91\.9 (\[\d+\])", vgg16)[1]
    assert [line for line in lines if line.startswith(f"{number} arXiv:1409.1556, Table 3")]


def test_no_line_of_the_list_of_models_wraps(capsys):
    lines = printed(capsys, "models").splitlines()
    assert [line for line in lines if len(line) > WIDTH] == []
    assert [line.split()[0] for line in lines[1 : len(NAMES) + 1]] == NAMES


def test_a_narrow_terminal_goes_without_some_columns_and_is_told_so(monkeypatch, capsys):
    whole = printed(capsys, "models")
    assert "Left out" not in whole and whole.split()[:8] == "name parameters MACs MB input top-1 / top-5".split()
    for width, left_out in ((95, "verified"), (86, "verified, MB"), (80, "verified, MB, input")):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = printed(capsys, "models").splitlines()
        assert [line for line in lines if len(line) > width] == []
        assert [line.split()[0] for line in lines[1 : len(NAMES) + 1]] == NAMES
        assert f"Left out, for want of width: {left_out}. All of it:" in " ".join(lines)
        assert not set(left_out.split(", ")) & set(lines[0].split())
        assert any(line.startswith("Verified") for line in lines) is False


def test_a_terminals_own_width_counts_and_a_pipes_does_not(monkeypatch):
    monkeypatch.setattr(common.shutil, "get_terminal_size", lambda fallback: os.terminal_size((77, 20)))
    monkeypatch.setattr(common.sys.stdout, "isatty", lambda: True, raising=False)
    assert common.columns() == 77
    monkeypatch.setattr(common.sys.stdout, "isatty", lambda: False, raising=False)
    assert common.columns() is None


def test_a_comparison_fits_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    lines = printed(capsys, "summary", "--compare", "all").splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert "Left out, for want of width: int8 MB" in " ".join(lines)


def test_sources_are_numbered_in_the_order_in_which_they_are_printed(capsys):
    text = printed(capsys, "models")
    table, below = text.split("\n\n")
    numbers = [int(n) for n in re.findall(r"\[(\d+)\]", table)]
    first = list(dict.fromkeys(numbers))
    assert len(first) > 10 and first == list(range(1, len(first) + 1))
    assert [int(n) for n in re.findall(r"^\[(\d+)\]", below, re.M)] == first
    assert "or yes" not in below and "the lectures quote alexnet, vgg16, vgg19, resnet50" in " ".join(below.split())


def test_all_weights_have_an_accuracy():
    assert [a.name for a in registry.ARCHITECTURES if bool(a.published) != bool(a.published_accuracy)] == []


def test_averages_are_told_from_one_crop():
    for a in registry.ARCHITECTURES:
        if a.accuracy:
            averaged = re.search("ten crops|144 crops|averaged|mirror image", a.accuracy.source) is not None
            assert a.accuracy.one_crop is not averaged, a.name
        assert a.published_accuracy is None or a.published_accuracy.one_crop, a.name
    assert not registry.find("alexnet").accuracy.one_crop and registry.find("mobilenet_v2").accuracy.one_crop


@pytest.mark.parametrize("name", NAMES)
def test_models_tells_all_of_one(name, capsys):
    architecture = registry.find(name)
    text = printed(capsys, "models", name)
    assert f"{architecture.params:,}" in text and f"{architecture.macs:,}" in text
    assert ", ".join(architecture.stages) in text
    about = json.loads(printed(capsys, "models", name, "--json"))
    assert (about["macs"], about["depth"], about["parameters"]) == (
        architecture.macs,
        architecture.depth,
        architecture.params,
    )
    assert (about["accuracy"] or {}).get("source") == (architecture.accuracy and architecture.accuracy.source)


def test_an_accuracy_has_as_many_digits_as_are_stated():
    assert [per_cent(x) for x in (0.744, 0.7715, 0.9, None)] == ["74.4", "77.15", "90.0", "-"]
    sources = Sources()
    cells = [sources.cell(Accuracy(top1=a, top5=0.9, source=s)) for a, s in ((0.5, "x"), (None, "y"), (0.25, "x"))]
    assert cells == ["50.0 / 90.0 [1]", "- / 90.0 [2]", "25.0 / 90.0 [1]"]
    assert sources.cell(None) == "-" and sources.lines() == ["[1] x", "[2] y"]


def test_every_accuracy_is_a_fraction_with_a_source():
    for a in registry.ARCHITECTURES:
        for one in filter(None, (a.accuracy, a.published_accuracy)):
            assert one.source and all(0.2 < x < 1 for x in (one.top1, one.top5) if x is not None), a.name
            assert one.top1 is None or one.top5 is None or one.top1 < one.top5, a.name


def test_verified_targets_are_listed_by_target():
    assert verified_text(("tflite float32", "tflite int8", "onnx float32")) == "tflite float32 int8, onnx float32"
    assert verified_text(()) == "-"


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("resnet101", "resnet152"))])
def test_summary_shows_every_layer_within_the_width_of_a_terminal(name, capsys):
    architecture = registry.find(name)
    text = printed(capsys, "summary", name)
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []
    assert f"{architecture.params:,} parameters" in text and f"{architecture.macs:,} MACs" in text
    shown = [line.split()[1] for line in text.splitlines() if line.startswith("head ")]
    assert shown[-2] == "head_logits"


def test_summary_in_json_and_markdown_says_the_same(capsys):
    found = json.loads(printed(capsys, "summary", "mobilenet_v2", "--classes", "5", "--width", "0.5", "--json"))
    assert found["totals"]["parameters"] == sum(layer["parameters"] for layer in found["layers"])
    assert (found["classes"], found["width_multiplier"], found["input_size"]) == (5, 0.5, 224)
    text = printed(capsys, "summary", "mobilenet_v2", "--classes", "5", "--width", "0.5", "--markdown")
    assert f"**{found['totals']['parameters']:,}" in text or f"{found['totals']['parameters']:,} parameters" in text
    first, rule = text.splitlines()[2:4]
    assert first.startswith("| stage | layer |") and re.fullmatch(r"\| (-{3}:? \| ?)+", rule)
    assert len([line for line in text.splitlines() if line.startswith("| stem | stem_")]) == 3


def test_input_size_head_and_classes_are_those_asked_for(capsys):
    args = ["vgg16", "--input-size", "64", "--head", "gap", "--classes", "7", "--json"]
    rows = {row["name"]: row for row in json.loads(printed(capsys, "summary", *args))["layers"]}
    assert rows["stage5_pool"]["shape"] == [2, 2, 512]
    assert rows["head_logits"]["parameters"] == 513 * 7


def test_comparing_needs_no_keras_and_gives_the_registrys_figures(tmp_path):
    code = (
        "import sys\nfrom tlkit.cli.main import main\n"
        "code = main(['summary', '--compare', 'vgg16', 'mobilenet_v2', '--json'])\n"
        "print(code, sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.stderr.strip() == "0 []"
    vgg16, mobilenet = json.loads(done.stdout)
    assert (vgg16["depth"], vgg16["macs"], vgg16["float32_bytes"]) == (16, 15_470_264_320, 553_430_176)
    assert (vgg16["accuracy"]["top1"], vgg16["accuracy"]["top5"]) == (0.744, 0.919)
    assert (mobilenet["depth"], mobilenet["int8_bytes"]) == (53, 3_538_984)


def test_comparing_all_stays_within_the_width_of_a_terminal(capsys):
    lines = printed(capsys, "summary", "--compare", "all").splitlines()
    assert [line.split()[0] for line in lines[1 : len(NAMES) + 1]] == NAMES
    assert [line for line in lines if len(line) > WIDTH] == []


def test_comparing_at_another_size_counts_anew_and_claims_no_accuracy(capsys):
    args = ["--compare", "vgg16", "mobilenet_v2", "--input-size", "64", "--head", "gap", "--json"]
    for one in json.loads(printed(capsys, "summary", *args)):
        assert one["macs"] < registry.find(one["name"]).macs / 10 and one["accuracy"] is None
    same = json.loads(printed(capsys, "summary", "--compare", "vgg16", "mobilenet_v2", "--classes", "1000", "--json"))
    assert [one["accuracy"]["top1"] for one in same] == [0.744, 0.72]


def test_nothing_is_counted_for_a_picture_that_cant_be(monkeypatch, capsys):
    monkeypatch.setattr("tlkit.models.compare._counted", None)
    for more in (["--picture", "no/a.png"], ["--picture", "a.png", "--classes", "9"]):
        assert (
            main(["summary", "--compare", "vgg16", "mobilenet_v2", "--head", "gap", "--input-size", "64", *more]) == 2
        )
        assert re.search("There is no folder no|Nothing to draw: ", capsys.readouterr().err)


def test_a_constructor_of_keras_and_a_file_are_counted_too(tmp_path, capsys):
    import keras

    text = printed(capsys, "summary", "keras:MobileNetV2", "--classes", "5", "--input-size", "96")
    assert text.startswith("MobileNetV2: 96 pixels, 5 classes\n")
    # As Keras counts them, and a Dense on 1,280 channels.
    body = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(96, 96, 3))
    assert f"{body.count_params() + 1281 * 5:,} parameters" in text
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3), keras.layers.MaxPooling2D()])
    model.save(tmp_path / "mine.keras")
    found = json.loads(printed(capsys, "summary", str(tmp_path / "mine.keras"), "--classes", "3", "--json"))
    assert found["totals"]["parameters"] == 4 * 28 + 3 * 5 and found["head"] == "gap"
    args = ["--compare", "keras:MobileNetV2", "mobilenet_v2", "--input-size", "96", "--json"]
    theirs, ours = json.loads(printed(capsys, "summary", *args, "--head", "gap"))
    assert theirs["macs"] == ours["macs"] and theirs["accuracy"] is None


def test_markdown_escapes_what_would_end_a_cell():
    assert markdown_table([["a", "b"], ["x|y", "1"]], right=(1,)) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["summary"], 2, "Missing argument 'NAME...'"),
        (["summary", "mobilnet_v2"], 1, "no architecture called 'mobilnet_v2'. Did you mean mobilenet_v2"),
        (["summary", "vgg16", "--input-size", "96"], 2, "takes 224 pixels only, not 96"),
        (["summary", "vgg16", "--width", "0.5"], 2, "vgg16 has no width multiplier (0.5 was given)"),
        (["summary", "mobilenet_v2", "--width", "0"], 2, "more than 0 and at most 4, not 0"),
        (["summary", "mobilenet_v2", "--input-size", "31"], 2, "at least 32 pixels, not 31"),
        (["summary", "mobilenet_v2", "--classes", "1"], 2, "1 is not in the range x>=2"),
        (["summary", "vgg16", "mobilenet_v2"], 2, "needs --compare: tlkit summary --compare vgg16 mobilenet_v2"),
        (["summary", "vgg16", "--picture", "a.png"], 2, "--picture needs --compare"),
        (["summary", "vgg16", "--json", "--markdown"], 2, "Leave one out"),
        (["summary", "--compare", "vgg16"], 2, "--compare takes two architectures or more, or `all`"),
        (["summary", "--compare", "vgg16", "vgg61"], 1, "no architecture called 'vgg61'"),
        (["summary", "--compare", "vgg16", "mobilenet_v2", "--width", "0.5"], 2, "vgg16 has no width multiplier"),
        (["summary", "--compare", "vgg16", "mobilenet_v2", "--input-size", "96"], 2, "takes 224 pixels only"),
        (["summary", "--compare", "all", "--picture", "a.pdf"], 2, "ends in .png or .svg, not 'a.pdf'"),
        (
            ["summary", "--compare", "vgg16", "lenet5", "--classes", "9", "--picture", "a.png"],
            2,
            "--classes 9 makes another",
        ),
        (["summary", "--compare", "lenet5", "lenet5_32", "--picture", "a.png"], 2, "has a published top-1 accuracy"),
        (
            ["summary", "--compare", "mobilenet_v1", "mobilenet_v2", "--width", "0.5", "--picture", "a.svg"],
            2,
            "--width",
        ),
        (["summary", "--compare", "all", "--picture", "no/folder/a.png"], 2, "There is no folder no/folder. Make it"),
        (["summary", "--compare", "all", "--picture", "."], 2, "takes a file, and . is a folder"),
        (["summary", "keras:EfficientNetV2B9"], 1, "Did you mean keras:EfficientNetV2B"),
        (["summary", "keras:MobileNetV2", "--head", "original"], 2, "so it has no original head"),
        (["summary", "nothing.keras"], 1, "nothing.keras"),
        (["models", "keras:MobileNetV2"], 2, "What keras:MobileNetV2 is made of: tlkit summary keras:MobileNetV2"),
        (["weights", "fetch", "keras:MobileNetV2"], 2, "fetched by the first tlkit finetune --base keras:NAME"),
    ],
)
def test_bad_input_gets_a_sentence_and_an_exit_code(args, code, message, check_refused):
    check_refused(args, code, message)
