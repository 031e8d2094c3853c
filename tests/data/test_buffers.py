"""Memory of batches is used again, and never while something still looks at it."""

import numpy as np

from tlkit.data.buffers import Buffers, tensor_of

FLOAT = np.dtype(np.float32)


def address(array):
    return array.ctypes.data


def test_memory_that_nothing_refers_to_is_taken_again():
    buffers = Buffers()
    first = buffers.take((4, 5), FLOAT)
    where = address(first)
    assert first.shape == (4, 5) and first.dtype == np.float32 and where % 64 == 0
    assert address(buffers.take((4, 5), FLOAT)) != where
    del first
    assert address(buffers.take((3, 5), FLOAT)) == where


def test_a_part_of_an_array_keeps_its_memory():
    buffers = Buffers()
    array = buffers.take((4, 5), FLOAT)
    part = array[1:2]
    part[:] = 7
    del array
    for _ in range(5):
        buffers.take((4, 5), FLOAT)[:] = 0
    assert (part == 7).all()


def test_a_tensor_shares_the_memory_and_keeps_it():
    buffers = Buffers()
    array = buffers.take((4, 5), FLOAT)
    array[:] = 3
    where, tensor = address(array), tensor_of(array)
    array[0, 0] = 5  # seen by the tensor: there is no copy
    del array
    for _ in range(5):
        buffers.take((4, 5), FLOAT)[:] = 0
    assert tensor.numpy()[0].tolist() == [5, 3, 3, 3, 3]
    seen = tensor.numpy()[1:]
    twice = tensor * 2
    del tensor
    for _ in range(5):
        buffers.take((4, 5), FLOAT)[:] = 0
    assert (seen == 3).all() and twice.numpy()[3, 3] == 6
    del seen
    assert where in [address(one) for one in [buffers.take((4, 5), FLOAT) for _ in range(3)]]


def test_few_arrays_are_kept_and_no_large_ones(monkeypatch):
    buffers = Buffers()
    for size in range(1, 40):
        buffers.take((4**6 * size,), FLOAT)
    assert len(buffers._all) <= 10
    monkeypatch.setattr("tlkit.data.buffers._LARGEST", 100)
    before = len(buffers._all)
    assert buffers.take((10**6,), FLOAT).shape == (10**6,)
    assert len(buffers._all) == before
