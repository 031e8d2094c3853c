"""What folders, files and cells may call the parts of a split."""

from typing import Literal

SplitName = Literal["train", "val", "test"]
# Folder names that make a split layout, in lower case.
SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
