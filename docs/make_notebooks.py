"""Writes recipes/small_data.ipynb; a test holds the file to it and runs its cells in a real kernel.

python docs/make_notebooks.py
"""

import json
from pathlib import Path

SMALL_DATA = (
    "# Few photos\n\nTrains a classifier on a folder of photos, says how good it is on others, and "
    "exports it for the edge with proof. Install tlkit with the extra `plot` first, as its README says; in Colab, in a "
    "cell `%pip install 'PATH[plot]'`.",
    'DATA = "digits"  # or a folder with one folder of photos per class\n'
    'BASE = "lenet5"  # for photos: "mobilenet_v2", with ImageNet weights\n'
    "EPOCHS = None  # what suits the photos",
    "from recipes import small_data\n\nresult = small_data.run(DATA, base=BASE, epochs=EPOCHS)\nresult.run",
    "result.run.plot()",
    "The int8 file, and how it was proven:",
    'result.artifact["path"], result.artifact["bytes"], result.artifact["parity"]',
    "Photos that it has never seen:",
    'root, photos = result.run.manifest["data"]["root"], result.run.manifest["split"]["test"]\n'
    "result.run.predict([f\"{root}/{photo['path']}\" for photo in photos[:3]], top=1)",
)


def notebook(cells: tuple[str, ...]) -> str:
    """Returns a notebook as text: cells that begin with a sentence are text, the others code."""
    made = []
    for number, cell in enumerate(cells):
        about = {"id": f"cell{number}", "metadata": {}, "source": cell.splitlines(keepends=True)}
        if cell.startswith("#") or cell.endswith((".", ":")):
            made.append({"cell_type": "markdown", **about})
        else:
            made.append({"cell_type": "code", **about, "execution_count": None, "outputs": []})
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    whole = {"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    target = Path(__file__).parent.parent / "recipes" / "small_data.ipynb"
    target.write_text(notebook(SMALL_DATA), encoding="utf-8")
