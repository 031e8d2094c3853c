"""`tlkit lr-find`, and `auto` where a number is taken."""

import json

import pytest
from click.testing import CliRunner

from tlkit.cli import finetune as finetune_command
from tlkit.cli.lr_find import _SHARED, command
from tlkit.cli.main import main


def test_every_shared_option_is_one_of_finetune():
    known = {one.name for one in finetune_command.command.params}
    assert set(_SHARED) <= known
    assert {one.name for one in command.params} == {*_SHARED, "as_json"}


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
