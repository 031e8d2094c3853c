"""Labels of arrays: numbers, names or one-hot rows become class indices."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.errors import DataError, did_you_mean, some
from tlkit.names import class_name_problem, path_problem


def labels_of(given: Mapping[str, Any], classes: Sequence[str] | None) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """Returns the classes and, for each part, the index of every label.

    Args:
        given: From the name of a part, in messages, to its labels; training comes first.
        classes: Names of the classes; None: names are those of training, sorted, one-hot columns and numbers are their
            own names, numbers in the order of their size.

    Raises:
        DataError: labels of other forms, of several forms, or that are no class; fewer than 2 classes, names that can't
            be those of classes, or a class that training never sees.
    """
    parts = {title: _plain(y, title) for title, y in given.items()}
    first, *others = parts
    forms = {
        title: ("one-hot" if y.ndim == 2 else "names" if y.dtype.kind == "U" else "numbers")
        for title, y in parts.items()
    }
    for title in others:
        if forms[title] != forms[first] or parts[title].shape[1:] != parts[first].shape[1:]:
            raise DataError(f"{first} holds {forms[first]}, {title} {forms[title]} of another form. Give both alike.")
    names = _names(parts[first], classes, first)
    indices = {title: _indices(y, names, classes is not None, title) for title, y in parts.items()}
    if unseen := sorted(set(range(len(names))) - set(indices[first])):
        missing = some(names[label] for label in unseen)
        raise DataError(
            f"No image to train on is of class {missing}: {first} never says so. Add some, or leave it out."
        )
    return names, indices


def _plain(y: Any, title: str) -> np.ndarray:  # noqa: ANN401
    """Returns `[N]` whole numbers or text, or `[N, C]` one-hot."""
    array = np.asarray(y)
    if array.dtype.kind == "O" and all(isinstance(one, str | bytes) for one in array.flat):
        array = np.array([one.decode() if isinstance(one, bytes) else one for one in array.flat]).reshape(array.shape)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind not in "Uuifb" or array.ndim not in (1, 2) or (array.ndim == 2 and array.dtype.kind == "U"):
        raise DataError(
            f"{title} is of type {array.dtype} and shape {list(array.shape)}. It takes [N] numbers or names of "
            "classes, or [N, C] one-hot."
        )
    if array.ndim == 2 and not (np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all()):
        raise DataError(f"{title} is not one-hot: each row must hold a single 1 and else 0.")
    if array.dtype.kind == "f":
        if not (array == np.rint(array)).all():
            raise DataError(
                f"{title} has labels that are not whole numbers, such as {array[array != np.rint(array)][0]}."
            )
        array = array.astype(np.int64)
    return array


def _names(y: np.ndarray, classes: Sequence[str] | None, title: str) -> tuple[str, ...]:
    if classes is not None:
        names = tuple(str(name) for name in classes)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"classes names {twice[0]!r} twice. Give each class its own name.")
        if y.ndim == 2 and y.shape[1] != len(names):
            raise DataError(f"{title} has {y.shape[1]} columns, and classes has {len(names)} names. Give one for each.")
    elif y.ndim == 2:
        names = tuple(str(column) for column in range(y.shape[1]))
    else:
        names = tuple(str(label) for label in np.unique(y.astype(np.int64) if y.dtype.kind == "b" else y))
    for name in names:
        if problem := class_name_problem(name) or path_problem(f"{name}/x.png"):
            raise DataError(f"{name!r} can't be a class: its name {problem}. Give classes other names.")
    if len(names) < 2:
        raise DataError(f"{title} has {len(names)} classes. A classifier needs at least 2.")
    return names


def _indices(y: np.ndarray, names: tuple[str, ...], named: bool, title: str) -> list[int]:
    """Returns the class of each label; numbers are indices where the classes were named."""
    if y.ndim == 2:
        return y.argmax(axis=1).tolist()
    if y.dtype.kind != "U" and named:
        known: dict[Any, int] = {label: label for label in range(len(names))}
    else:
        known = {name if y.dtype.kind == "U" else int(name): label for label, name in enumerate(names)}
    values = y.tolist() if y.dtype.kind == "U" else [int(value) for value in y]
    if unknown := [value for value in values if value not in known]:
        close = did_you_mean(unknown[0], names) if isinstance(unknown[0], str) else ""
        raise DataError(
            f"{title} has {unknown[0]!r}, which is no class.{close} The classes are: {some(map(str, known), 20)}."
        )
    return [known[value] for value in values]
