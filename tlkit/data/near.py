"""Photos that look the same: a perceptual hash, and the search for near duplicates among hundreds of thousands.

Two steps, for no hash of 64 bits alone tells photos of hands before one wall apart (docs/data.md has the figures):
hashes find the candidates, and small copies of the photos decide.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

# A pair is a candidate when at most so many bits of its hashes differ: 4 bands of 16 bits hold them in such a way that
# one band differs in at most one.
BITS = 7
_BANDS = 4
_GRID = 32  # side of what is transformed
_SMALL = 16  # side of the copy that decides
_TINTS = 4  # side of its colours
# Photos whose colours differ more than this, in grey levels on average, are not the same: a product in red and in blue.
_TINT_LIMIT = 12.0
# Below this standard deviation, in grey levels, a photo has one colour: what is left is noise.
FLAT = 3.0
# Channels within so many levels of each other are grey: compression leaves some colour.
_GREY = 8
# Rows of a step: bounds the memory.
_CANDIDATES, _COMPARED = 2**22, 2**13
# Clusters of one hash before the rest of its photos is let go.
_ROUNDS = 8

_rows = np.arange(_GRID)
_COSINES = np.cos(np.pi * (2 * _rows[None] + 1) * _rows[:, None] / (2 * _GRID)).astype(np.float32)
# The 64 lowest frequencies (vertical, horizontal) but the mean, dealt to the bands in turn, so that each has its share
# of the low ones, which vary most.
_LOW = sorted(((v, h) for v in range(12) for h in range(12) if v + h), key=lambda f: (sum(f), f))[:64]
_LOW = [frequency for band in range(_BANDS) for frequency in _LOW[band::_BANDS]]
_VERTICAL, _HORIZONTAL = np.array(_LOW).T
# A mirror changes the sign of odd horizontal frequencies and nothing else.
_MIRROR = np.packbits(_HORIZONTAL % 2 == 1).view(np.uint64)[0]


@dataclass(frozen=True)
class Look:
    """What a photo looks like, in 300 bytes.

    Attributes:
        hash: 64 bits.
        small: `[16, 16]` uint8 grey levels, row by row.
        tints: `[4, 4, 2]` uint8, blue and red difference (Cb, Cr).
        grey: It has no colours.
        flat: It has one colour, and so nothing by which it could be recognized.
    """

    hash: int
    small: bytes
    tints: bytes
    grey: bool
    flat: bool


def look(image: Image.Image) -> Look:
    """Returns what an upright RGB photo looks like.

    The hash holds the signs of the 64 lowest frequencies of the cosine transform of 32 x 32 grey levels (after Zauner,
    Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1, who compares with their
    median; with signs the hash of the mirrored photo is known without computing it).
    """
    image = image.resize((_GRID, _GRID), Image.Resampling.BILINEAR)
    pixels = np.asarray(image).astype(np.int16)
    grey = np.asarray(image.convert("L"), np.float32)
    bits = (_COSINES @ grey @ _COSINES.T)[_VERTICAL, _HORIZONTAL] > 0
    small = grey.reshape(_SMALL, 2, _SMALL, 2).mean(axis=(1, 3)).round().astype(np.uint8)
    tints = np.asarray(image.convert("YCbCr").resize((_TINTS, _TINTS), Image.Resampling.BOX))[..., 1:]
    return Look(
        hash=int(np.packbits(bits).view(np.uint64)[0]),
        small=small.tobytes(),
        tints=tints.tobytes(),
        grey=bool(np.ptp(pixels, axis=-1).max() <= _GREY),
        flat=bool(small.std() < FLAT),
    )


@dataclass(frozen=True)
class Link:
    """Two photos, by index, that look the same; `similarity` is the correlation of their small copies."""

    one: int
    other: int
    similarity: float
    mirrored: bool


class _Looks:
    """Arrays of what photos look like."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self.hashes = np.array([one.hash for one in looks], np.uint64)
        self.small = _stack([one.small for one in looks], _SMALL * _SMALL)
        self.tints = _stack([one.tints for one in looks], _TINTS * _TINTS * 2)
        self.grey = np.array([one.grey for one in looks], bool)

    def similarity(self, ones: np.ndarray, others: np.ndarray, mirrored: bool) -> np.ndarray:
        """Returns `[pairs]` correlations, -1 where the colours are others."""
        found = np.empty(len(ones), np.float32)
        for start in range(0, len(ones), _COMPARED):
            part = slice(start, start + _COMPARED)
            found[part] = self._similarity(ones[part], others[part], mirrored)
        return found

    def _similarity(self, ones: np.ndarray, others: np.ndarray, mirrored: bool) -> np.ndarray:
        small, tints = self.small[others], self.tints[others]
        if mirrored:
            small = small.reshape(-1, _SMALL, _SMALL)[:, :, ::-1].reshape(-1, _SMALL * _SMALL)
            tints = tints.reshape(-1, _TINTS, _TINTS, 2)[:, :, ::-1].reshape(-1, _TINTS * _TINTS * 2)
        found = (_standardized(self.small[ones]) * _standardized(small)).mean(axis=1)
        differences = np.abs(self.tints[ones].astype(np.int16) - tints).mean(axis=1)
        coloured = ~(self.grey[ones] | self.grey[others])  # a grey copy of a photo is a copy
        return np.where(coloured & (differences > _TINT_LIMIT), -1.0, found)


def _stack(rows: Sequence[bytes], width: int) -> np.ndarray:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)


def _standardized(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=1, keepdims=True, dtype=np.float32)
    return centred / np.maximum(centred.std(axis=1, keepdims=True), 1e-6)


def near(looks: Sequence[Look], labels: Sequence[int], similarity: float) -> list[Link]:
    """Finds photos that look the same, as few links as hold their groups together.

    A mirrored photo counts when it has the same label: left and right may be classes. Time grows with the number of
    photos that are alike, not with the square of all; 200,000 photos take seconds.

    Args:
        looks: None of them flat.
        labels: Of each, its class.
        similarity: Smallest correlation of two small copies, in [0, 1].
    """
    arrays, classes = _Looks(looks), np.asarray(labels)
    groups = _Groups(len(looks))
    links: list[Link] = []

    def join(ones: np.ndarray, others: np.ndarray, mirrored: bool) -> None:
        apart = groups.apart(ones, others)
        if mirrored:
            apart &= classes[ones] == classes[others]
        ones, others = ones[apart], others[apart]
        found = arrays.similarity(ones, others, mirrored)
        for k in np.flatnonzero(found >= similarity):
            if groups.join(ones[k], others[k]):
                links.append(Link(int(ones[k]), int(others[k]), min(float(found[k]), 1.0), mirrored))
        groups.flatten()

    heads = _heads(arrays, similarity, join)
    hashes = arrays.hashes[heads]
    for mirrored in (False, True):
        for queries, found in _candidates(hashes ^ _MIRROR if mirrored else hashes, hashes):
            one_way = queries < found  # both are the same set: each pair comes twice
            join(heads[queries[one_way]], heads[found[one_way]], mirrored)
    return links


def _heads(arrays: _Looks, similarity: float, join) -> np.ndarray:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Joins photos of one hash with the first of them that they are like, and returns those first ones.

    A camera that looks at one place fills a folder with one hash: comparing all its pairs would take days.
    """
    heads, rest = [], np.argsort(arrays.hashes, kind="stable")
    for _ in range(_ROUNDS):
        if not len(rest):
            break
        _, first, back = np.unique(arrays.hashes[rest], return_index=True, return_inverse=True)
        leaders = rest[first]
        heads.append(leaders)
        follows = np.ones(len(rest), bool)
        follows[first] = False
        others, ones = rest[follows], leaders[back[follows]]
        join(ones, others, False)
        rest = others[arrays.similarity(ones, others, False) < similarity]
    return np.sort(np.concatenate(heads)) if heads else rest


def _candidates(queries: np.ndarray, hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields indices into `queries` and `hashes`, `[N]` uint64, that differ in at most `BITS` bits; each pair once.

    Of 7 bits that differ, one of the 4 bands has at most one (Norouzi et al., Fast Search in Hamming Space with
    Multi-Index Hashing, arXiv:1307.2982, section 3): 17 look-ups for each band find it.
    """
    bands, query_bands = (values.view(np.uint16).reshape(-1, _BANDS) for values in (hashes, queries))
    for band in range(_BANDS):
        order = np.argsort(bands[:, band], kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(bands[:, band], minlength=2**16))])
        for flip in (0, *(1 << bit for bit in range(16))):
            keys = query_bands[:, band] ^ np.uint16(flip)
            begins, ends = starts[keys], starts[keys.astype(np.int64) + 1]
            for rows in _portions(ends - begins):
                counts = (ends - begins)[rows]
                ones = np.repeat(rows, counts)
                offsets = np.arange(len(ones)) - np.repeat(np.cumsum(counts) - counts, counts)
                others = order[np.repeat(begins[rows], counts) + offsets]
                differing = queries[ones] ^ hashes[others]
                kept = np.bitwise_count(differing) <= BITS
                ones, others, differing = ones[kept], others[kept], differing[kept]
                earlier = np.bitwise_count(differing.view(np.uint16).reshape(-1, _BANDS)[:, :band]) <= 1
                new = ~earlier.any(axis=1)
                yield ones[new], others[new]


def _portions(counts: np.ndarray) -> Iterator[np.ndarray]:
    """Yields indices with a count, in portions whose counts add up to about `_CANDIDATES`."""
    rows = np.flatnonzero(counts)
    portion = np.cumsum(counts[rows]) // _CANDIDATES
    yield from (part for part in np.split(rows, np.flatnonzero(np.diff(portion)) + 1) if len(part))


class _Groups:
    """Which photos belong together (disjoint sets)."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)

    def _root(self, one: int) -> int:
        while self._parents[one] != one:
            one = self._parents[one]
        return one

    def apart(self, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Returns `[pairs]` whether two are of different groups; exact after `flatten`."""
        return self._parents[ones] != self._parents[others]

    def join(self, one: int, other: int) -> bool:
        """Puts two groups together; false when they are one already."""
        one, other = self._root(one), self._root(other)
        self._parents[max(one, other)] = min(one, other)
        return one != other

    def flatten(self) -> None:
        """Lets every photo know its root."""
        while (self._parents != (upper := self._parents[self._parents])).any():
            self._parents = upper
