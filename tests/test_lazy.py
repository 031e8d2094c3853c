"""Imports that wait."""

import subprocess
import sys

import pytest

from tlkit.errors import MissingDependencyError
from tlkit.lazy import require


def test_a_missing_extra_is_named_with_its_command():
    with pytest.raises(MissingDependencyError, match=r"pip install 'tlkit\[onnx\]'"):
        require("no_such_module_at_all", extra="onnx")


def test_a_module_that_is_there_but_broken_shows_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "broken_one.py").write_text("import something_else_that_is_missing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="something_else_that_is_missing"):
        require("broken_one", extra="onnx")


def test_importing_tlkit_and_its_light_parts_imports_neither_tensorflow_nor_keras():
    code = """
import sys, tlkit, tlkit.api, tlkit.predict, tlkit.models.registry, tlkit.manifest, tlkit.transfer.options
import tlkit.transfer.finetune, tlkit.convert.tflite_runtime, tlkit.cli.main
print(sorted({"tensorflow", "keras", "sklearn"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scikit_learn_can_still_be_imported_after_keras_was_told_it_is_not_there():
    code = """
from tlkit import lazy
lazy.own_process = True
lazy.import_keras()
import sys
assert "sklearn" not in sys.modules
import sklearn.datasets
print("ok")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "ok", done.stderr
