"""Code lines of the families here and in keras.applications: lines that are not blank, comment or docstring.

    python benchmarks/code_lines.py

Ours hold what all families share (blocks.py, origins.py) too; theirs have the shared imagenet_utils.py left out.
"""

import ast
import io
import tokenize
from pathlib import Path

import keras

import tlkit

# What both have.
FAMILIES = {
    "vgg": ("vgg16", "vgg19"),
    "resnet": ("resnet",),
    "inception_v3": ("inception_v3",),
    "mobilenet_v1": ("mobilenet",),
    "mobilenet_v2": ("mobilenet_v2",),
    "mobilenet_v3": ("mobilenet_v3",),
}
SHARED = ("blocks", "origins")
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(path: Path) -> int:
    """Counts lines with code."""
    text = path.read_text()
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def main() -> None:
    here = Path(tlkit.__file__).parent / "models"
    there = Path(keras.__file__).parent / "src" / "applications"
    total = [0, 0]
    for family, modules in FAMILIES.items():
        ours = code_lines(here / f"{family}.py")
        theirs = sum(code_lines(there / f"{module}.py") for module in modules)
        total = [total[0] + ours, total[1] + theirs]
        print(f"{family:<14} {ours:5} here {theirs:5} keras.applications")
    for name in SHARED:
        ours = code_lines(here / f"{name}.py")
        total[0] += ours
        print(f"{name:<14} {ours:5} here, shared by all")
    print(f"{'together':<14} {total[0]:5} here {total[1]:5} keras.applications  ratio {total[0] / total[1]:.2f}")


if __name__ == "__main__":
    main()
