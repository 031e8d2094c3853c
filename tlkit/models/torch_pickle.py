"""Reads the pickle inside a PyTorch file without Python's unpickler: nothing in it can be called, made or set.

A pickle is a program for a small stack machine. This one knows the operations of a state dict: numbers, text, tuples,
lists and dicts are made as such, a global is but its name, and a call of one is kept as `Call`, to be understood (or
refused) by whoever asked. Every other operation is refused.

Source: the descriptions of operations in the standard library's `pickletools`.
"""

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 16 * 2**20  # of a pickle; ResNet-152's takes 0.2 MB
MAX_OPERATIONS = 2_000_000
MAX_NAME = 200  # characters of a module's or a function's name


class PickleError(ValueError):
    """The pickle is broken, or does what no state dict does; the message is the reason."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function. Nothing is imported."""

    name: str


@dataclass(frozen=True)
class Call:
    """What calling a global with arguments would have given."""

    function: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Storage:
    """A reference to numbers that lie beside the pickle."""

    identity: tuple[Any, ...]


class _Mark:
    """Where a tuple, or a batch of items, begins on the stack."""


class _Machine:
    def __init__(self, known: frozenset[str]) -> None:
        self.known = known
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def since_mark(self) -> list[Any]:
        """Takes everything above the last mark, and the mark."""
        for i in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[i], _Mark):
                items = self.stack[i + 1 :]
                del self.stack[i:]
                return items
        raise PickleError("there is no mark where one is needed")

    def take(self, count: int) -> list[Any]:
        """Takes the uppermost objects."""
        if len(self.stack) < count or any(isinstance(one, _Mark) for one in self.stack[-count:]):
            raise PickleError("its stack is empty where something is needed")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def top(self, kind: type) -> Any:  # noqa: ANN401
        """Returns the uppermost object, which must be a list, or a dict."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise PickleError(f"it adds to what is no {kind.__name__}")
        return self.stack[-1]

    def name(self, module: object, name: object) -> None:
        # Only text is put into a message: of nested tuples that would take all memory.
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleError("it asks for what has no name, which no state dict needs: it may be made to do harm")
        full = f"{module[:MAX_NAME]}.{name[:MAX_NAME]}"
        if len(module) > MAX_NAME or len(name) > MAX_NAME or full not in self.known:
            raise PickleError(f"it asks for {full[:80]!r}, which no state dict needs: it may be made to do harm")
        self.stack.append(Global(full))

    def call(self, function: object, arguments: object) -> None:
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise PickleError("it calls what is no function")
        if function.name == "collections.OrderedDict":
            if any(arguments):
                raise PickleError("it fills an OrderedDict in a way that PyTorch does not")
            self.stack.append({})
        else:
            self.stack.append(Call(function.name, arguments))

    def build(self, state: object) -> None:
        """What `__setstate__` and attributes would be set from. A state dict's `_metadata` comes so; it is dropped."""
        if not isinstance(state, dict):
            raise PickleError("it sets the state of an object")
        self.top(dict)

    def put(self, key: int) -> None:
        self.memo[key] = self.stack[-1] if self.stack else self.take(1)

    def get(self, key: int) -> None:
        if key not in self.memo:
            raise PickleError("it takes what was never kept")
        self.stack.append(self.memo[key])

    def set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise PickleError("a key has no value")
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):
                raise PickleError("it has a key that is neither text nor a number")
            target[key] = value


_CONSTANTS = "BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING"
_BY_CODE = {operation.code: operation for operation in pickletools.opcodes}
# From the name of an operation to what it does with the machine and its argument.
_OPERATIONS: dict[str, Callable[[_Machine, Any], object]] = {
    **dict.fromkeys(_CONSTANTS.split(), lambda m, value: m.stack.append(value)),
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    "NONE": lambda m, _: m.stack.append(None),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
    "MARK": lambda m, _: m.stack.append(_Mark()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.stack.append(tuple(m.take(1))),
    "TUPLE2": lambda m, _: m.stack.append(tuple(m.take(2))),
    "TUPLE3": lambda m, _: m.stack.append(tuple(m.take(3))),
    "APPEND": lambda m, _: (items := m.take(1), m.top(list).extend(items)),
    "APPENDS": lambda m, _: (items := m.since_mark(), m.top(list).extend(items)),
    "SETITEM": lambda m, _: m.set_items(m.take(2)),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "BINPUT": lambda m, key: m.put(key),
    "LONG_BINPUT": lambda m, key: m.put(key),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "BINGET": lambda m, key: m.get(key),
    "LONG_BINGET": lambda m, key: m.get(key),
    "GLOBAL": lambda m, names: m.name(*names),
    "STACK_GLOBAL": lambda m, _: m.name(*m.take(2)),
    "REDUCE": lambda m, _: m.call(*m.take(2)),
    "BUILD": lambda m, _: m.build(*m.take(1)),
    "BINPERSID": lambda m, _: m.stack.append(_storage(*m.take(1))),
    "STOP": lambda m, _: None,
}


def _storage(identity: object) -> Storage:
    if not isinstance(identity, tuple):
        raise PickleError("it refers to what is no storage")
    return Storage(identity)


def read_pickle(content: io.BytesIO, known: frozenset[str]) -> Any:  # noqa: ANN401
    """Reads one pickle from where `content` stands, and leaves it behind its end.

    Args:
        content: Bytes, at most `MAX_BYTES` of which are read.
        known: Full names of the globals that may occur, such as `torch.FloatStorage`.

    Returns:
        Numbers, text, tuples, lists, dicts, `Global`, `Call` and `Storage`. Nothing of it was run.

    Raises:
        PickleError: it is cut off or broken, asks for another global, or has an operation that no state dict needs.
    """
    machine, start = _Machine(known), content.tell()
    for _ in range(MAX_OPERATIONS):
        name, argument = _operation(content)
        if content.tell() - start > MAX_BYTES:
            break
        _OPERATIONS[name](machine, argument)
        if name == "STOP":
            (value,) = machine.take(1)
            return value
    raise PickleError("it is too long for a state dict")


def _operation(content: io.BytesIO) -> tuple[str, Any]:
    """Reads the next operation's name and its argument."""
    operation = _BY_CODE.get(content.read(1).decode("latin-1"))
    if operation is None:
        raise PickleError("it is cut off or broken")
    if operation.name not in _OPERATIONS:
        raise PickleError(f"it has the operation {operation.name}, which no state dict needs")
    try:
        if operation.name == "GLOBAL":
            return operation.name, [content.readline()[:-1].decode() for _ in ("module", "name")]
        return operation.name, operation.arg.reader(content) if operation.arg else None
    except ValueError as err:  # what pickletools says to bytes that are no argument
        raise PickleError(f"it is cut off or broken ({str(err)[:80]})") from err
