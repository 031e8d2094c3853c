"""What tests of commands share."""

import pytest

from tlkit.cli.main import main


@pytest.fixture
def check_refused(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder: a sentence and an exit code must be all that comes of it."""

    def check(args, code, message):
        monkeypatch.chdir(tmp_path)
        assert main(args) == code
        captured = capsys.readouterr()
        assert message in captured.err
        assert "Traceback" not in captured.err
        assert captured.out == ""
        assert list(tmp_path.iterdir()) == []

    return check
