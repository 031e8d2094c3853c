"""The architecture, held by the syntax tree of every module."""

import ast
import sys

import pytest

from tlkit.models.table import ARCHITECTURES

from .conftest import ROOT

# design.md: a module imports from its own layer or a lower one.
LAYERS = {
    "tlkit.errors": 0,
    "tlkit.lazy": 0,
    "tlkit.lock": 0,
    "tlkit.manifest": 0,
    "tlkit.manifest_fields": 0,
    "tlkit.names": 0,
    "tlkit.notebook": 0,
    "tlkit.preprocess": 0,
    "tlkit.progress": 0,
    "tlkit.runs": 0,
    "tlkit.sizes": 0,
    "tlkit.tables": 0,
    "tlkit.models": 1,
    "tlkit.metrics": 1,
    "tlkit.multi_label": 1,
    "tlkit.shifts": 1,
    "tlkit.data": 2,
    "tlkit.transfer": 2,
    "tlkit.convert": 3,
    "tlkit.classifier": 3,
    "tlkit.predict": 3,
    "tlkit.evaluate": 3,
    "tlkit.evaluate_multi": 3,
    "tlkit.conflicts": 4,
    "tlkit.doctor": 4,
    "tlkit.probes": 4,
    "tlkit.suspects": 4,
    "tlkit.suspects_page": 4,
    "tlkit.api": 5,
    "tlkit.keywords": 5,
    "tlkit.cli": 6,
    "tlkit.__main__": 6,
    "recipes": 7,
}
HEAVY = {"tensorflow", "keras", "sklearn", "tf_keras", "tensorflow_model_optimization"}
# What the command line reads before it knows that its input is good, and what devices' tools share.
LIGHT = (
    "tlkit/__init__.py",
    "tlkit/api.py",
    "tlkit/errors.py",
    "tlkit/keywords.py",
    "tlkit/lazy.py",
    "tlkit/lock.py",
    "tlkit/manifest.py",
    "tlkit/manifest_fields.py",
    "tlkit/names.py",
    "tlkit/notebook.py",
    "tlkit/preprocess.py",
    "tlkit/progress.py",
    "tlkit/classifier.py",
    "tlkit/predict.py",
    "tlkit/evaluate.py",
    "tlkit/evaluate_multi.py",
    "tlkit/metrics.py",
    "tlkit/multi_label.py",
    "tlkit/shifts.py",
    "tlkit/tables.py",
    "tlkit/runs.py",
    "tlkit/sizes.py",
    "tlkit/conflicts.py",
    "tlkit/doctor.py",
    "tlkit/probes.py",
    "tlkit/suspects.py",
    "tlkit/suspects_page.py",
    "tlkit/models/accuracies.py",
    "tlkit/models/architecture.py",
    "tlkit/models/bases.py",
    "tlkit/models/compare.py",
    "tlkit/models/counts.py",
    "tlkit/models/imagenet.py",
    "tlkit/models/origins.py",
    "tlkit/models/picture.py",
    "tlkit/models/published.py",
    "tlkit/models/registry.py",
    "tlkit/models/table.py",
    "tlkit/transfer/backend.py",
    "tlkit/transfer/begin.py",
    "tlkit/transfer/devices.py",
    "tlkit/transfer/options.py",
    "tlkit/transfer/phase.py",
    "tlkit/transfer/photos.py",
    "tlkit/transfer/plans.py",
    "tlkit/transfer/finetune.py",
    "tlkit/transfer/grow.py",
    "tlkit/transfer/head_trials.py",
    "tlkit/transfer/lr_finder.py",
    "tlkit/transfer/lr_plot.py",
    "tlkit/transfer/record.py",
    "tlkit/transfer/tune.py",
    "tlkit/transfer/freeze.py",
    "tlkit/convert/limits.py",
    "tlkit/convert/multi_parity.py",
    "tlkit/convert/tflite_*.py",
    "tlkit/data/*.py",
    "tlkit/cli/*.py",
)
SOURCES = sorted([*(ROOT / "tlkit").rglob("*.py"), *(ROOT / "recipes").rglob("*.py")])


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def layer_of(module):
    matches = [name for name in LAYERS if module == name or module.startswith(name + ".")]
    return LAYERS[max(matches, key=len)] if matches else None


def imports(path, *, top_level=False):
    """Yields what a module imports, without what is only for the type checker."""
    tree = ast.parse(path.read_text())
    skipped = {
        inner
        for node in ast.walk(tree)
        if (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING")
        or (top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_a_layer():
    assert [p for p in SOURCES if layer_of(name_of(p)) is None and name_of(p) != "tlkit"] == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_downward(path):
    if name_of(path) == "tlkit":
        return  # loads its attributes on first use
    own = layer_of(name_of(path))
    upward = [name for name in imports(path) if (layer_of(name) or 0) > own]
    assert upward == []


def test_no_module_imports_itself_in_a_circle():
    modules = {name_of(path): path for path in SOURCES}
    graph = {}
    for name, path in modules.items():
        wanted = imports(path, top_level=True)
        named = {m for w in wanted for m in (w, w.rpartition(".")[0])}
        graph[name] = (named & set(modules)) - {name, "tlkit"}
    done = set()

    def visit(name, trail):
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])


@pytest.mark.parametrize("pattern", LIGHT)
def test_light_modules_import_nothing_heavy_at_the_top(pattern):
    for path in ROOT.glob(pattern):
        heavy = {name.partition(".")[0] for name in imports(path, top_level=True)} & HEAVY
        assert not heavy, path


def test_architectures_import_keras_only():
    for path in (ROOT / "tlkit" / "models").glob("*.py"):
        assert "tensorflow" not in {name.partition(".")[0] for name in imports(path)}, path


def test_base_modules_need_the_standard_library_only():
    for name in ("errors", "lazy", "lock", "manifest", "manifest_fields", "names", "runs", "sizes", "tables"):
        used = {n.partition(".")[0] for n in imports(ROOT / "tlkit" / f"{name}.py", top_level=True)}
        assert used <= {*sys.stdlib_module_names, "tlkit"}


def test_files_and_functions_stay_small():
    families = {architecture.family for architecture in ARCHITECTURES}
    for path in SOURCES:
        text = path.read_text()
        limit = 150 if path.parent.name == "models" and path.stem in families else 300
        assert text.count("\n") <= limit, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"
