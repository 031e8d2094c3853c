"""Which names are allowed: those of classes, and paths inside a folder, wherever they come from."""

import re

LONGEST = 255  # bytes: what file systems allow


def class_name_problem(name: str) -> str | None:
    """Returns what is wrong with a class name, as the end of a sentence, or None.

    A class name is the name of a folder. Quotes, `<`, `=` and every script's letters are fine: they are escaped where
    they are printed.
    """
    if not name:
        return "is empty"
    if name in (".", ".."):
        return "is not that of a folder of its own"
    if separators := sorted({"/", "\\"} & set(name)):
        return f"holds {separators[0]!r}, which separates folders"
    if not name.isprintable():
        return "has a character that is none, such as a line break"
    if len(name.encode()) > LONGEST:
        return f"is longer than {LONGEST} bytes"
    return None


def path_problem(path: str) -> str | None:
    """Returns why a relative path with `/` could leave its folder on some system, as the end of a sentence, or None."""
    if not path or "\0" in path:
        return "is not that of a file"
    if "\\" in path:
        return "has a backslash"
    if path.startswith("/") or re.match("[A-Za-z]:/", path):
        return "is absolute"
    return "leaves the folder" if ".." in path.split("/") else None
