"""`tlkit lr-find`, and `auto` where a number is taken."""

import json

import pytest
from click.testing import CliRunner

from tlkit.cli import finetune as finetune_command
from tlkit.cli.lr_find import _SHARED, command
from tlkit.cli.main import main
from tlkit.manifest import read_manifest


def test_every_shared_option_is_one_of_finetune():
    known = {one.name for one in finetune_command.command.params}
    assert set(_SHARED) <= known
    assert {one.name for one in command.params} == {*_SHARED, "as_json"}


# What a sweep of the first phase does not depend on.
LEFT_OUT = {
    *("parent", "parent_data", "epochs", "learning_rate", "patience", "name", "runs", "ema", "max_thaw_drop"),
    *("only_plan", "tune", "devices", "resume", "as_json"),
}


def test_an_option_of_finetune_is_shared_or_left_out_deliberately():
    assert {one.name for one in finetune_command.command.params} == LEFT_OUT | set(_SHARED)
    assert not LEFT_OUT & set(_SHARED)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["lr-find"], "Missing option '--base'"),
        (["lr-find", "--base", "lenet5", "--epochs", "3"], "No such option '--epochs'"),
        (["finetune", "--base", "lenet5", "--learning-rate", "fast"], "'fast' is not a valid float range"),
        (["finetune", "--base", "lenet5", "--learning-rate", "11"], "11.0 is not in the range 0<x<=10"),
        (["finetune", "--base", "lenet5", "--tune", "1"], "1 is not in the range 2<=x<=10000"),
        (["finetune", "--base", "lenet5", "--head-width", "9999"], "9999 is not in the range 0<=x<=4096"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_can_not_be(args, message, capsys):
    assert main(args) == 2
    assert message in capsys.readouterr().err


def test_it_shows_a_picture_or_prints_json(make_folder):
    args = ["--base", "lenet5", "--data", str(make_folder()), "--head", "gap", "--batch-size", "8"]
    shown = CliRunner().invoke(command, args)
    assert shown.exit_code == 0
    assert "Suggestion     " in shown.stdout and "1e-06" in shown.stdout
    found = json.loads(CliRunner().invoke(command, [*args, "--json"]).stdout)
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"])
    assert f"Suggestion     {found['learning_rate']:.2g}, where the loss falls most steeply" in shown.stdout
    assert f"Next           tlkit finetune --learning-rate {found['learning_rate']:.2g}, with the same" in shown.stdout


def test_with_several_phases_each_is_to_be_swept(make_folder):
    args = ["--base", "lenet5", "--data", str(make_folder()), "--head", "gap", "--weights", "none"]
    shown = CliRunner().invoke(command, [*args, "--freeze", "head-then:none", "--decode", "scaled"])
    assert shown.exit_code == 0
    assert "It is the head's, which trains first" in shown.stdout
    assert "Next           tlkit finetune --learning-rate auto, with the same options" in shown.stdout


def test_photos_with_several_labels_are_swept(multi_label_folder):
    given = read_manifest(multi_label_folder)["options"]
    args = ["--base", given["base"], "--data", given["data"], "--weights", "none", "--freeze", "none", "--json"]
    shown = CliRunner().invoke(command, [*args, "--multi-label", "--precision", "float32"])
    assert shown.exit_code == 0
    assert len(json.loads(shown.stdout)["losses"]) > 9
