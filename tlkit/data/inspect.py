"""What is in a folder of photos that would spoil a training, or its figures, found before any of it: docs/data.md."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlkit.data.discover import Folder, Photo, Problem, discover
from tlkit.data.inspection import Group, Inspection, Leaks
from tlkit.data.near import Look, look, near
from tlkit.data.split import split
from tlkit.errors import DataError, OptionError, some
from tlkit.preprocess import MAX_INPUT_SIZE, glance
from tlkit.progress import Progress

# Per cent; of two photos that correlate more than this, none of the project's real sets had different ones.
NEAR = 98.0
LEAST_NEAR = 90.0
# Sides that a JPEG photo has at least when it is looked at.
_LEAST_SIDE = 128
# A size is odd beyond so many times the median, and beyond so many robust deviations (Iglewicz and Hoaglin, How to
# Detect and Handle Outliers, 1993, take 3.5).
_ODD_AREA, _ODD_RATIO, _ODD_DEVIATIONS = 4.0, 1.5, 3.5


@dataclass(frozen=True)
class _Seen:
    """What one reading of a file left."""

    width: int
    height: int
    turned: bool
    look: Look


def inspect(
    root: str | Path, *, near_percent: float = NEAR, input_size: int = 224, progress: Progress | None = None
) -> Inspection:
    """Looks at every photo of a folder, once.

    Args:
        root: `DIR/<class>/*` or `DIR/{train,val,test}/<class>/*`.
        near_percent: How much two photos must correlate to be near duplicates, 90 to 100; at 100 only copies are
            looked for.
        input_size: Side of the model's input, in pixels.
        progress: Shows bars.

    Raises:
        DataError: the folder is none that could be trained on; see `discover`.
        OptionError: a number is out of its range.
    """
    if not LEAST_NEAR <= near_percent <= 100:
        raise OptionError(
            f"--near takes a percentage from {LEAST_NEAR:.0f} to 100, not {near_percent:g}. Lower ones would take "
            "different photos for the same; 100 looks for exact copies only."
        )
    if not 1 <= input_size <= MAX_INPUT_SIZE:
        raise OptionError(f"--input-size takes 1 to {MAX_INPUT_SIZE}, not {input_size}.")
    progress, root = progress or Progress(), Path(root).expanduser()
    _check_no_file(root)
    seen: dict[Path, _Seen] = {}

    def read(path: Path) -> bytes:
        found = glance(path, _LEAST_SIDE)
        seen[path] = _Seen(*found.size, found.turned, look(found.image))
        return found.content

    folder = discover(root, progress=progress, read=read)
    photos = [(part, photo) for part, listed in folder.photos.items() for photo in listed]
    looks = [seen.pop(root / photo.path) for _, photo in photos]
    groups = _groups(folder, photos, looks, near_percent / 100, progress)
    paths = [photo.path for _, photo in photos]
    grey = [path for path, one in zip(paths, looks, strict=True) if one.look.grey]
    few = grey if 2 * len(grey) <= len(paths) else sorted(set(paths) - set(grey))
    counts = _counts(folder)
    in_train = [sum(one[part] for part in one if part in ("all", "train")) for one in counts.values()]
    return Inspection(
        root=str(root),
        layout=folder.kind,
        counts=counts,
        imbalance=max(in_train) / min(in_train),
        unusable=tuple(folder.problems),
        groups=groups,
        leaks=_leaks(folder, groups),
        sizes={side: _spread([getattr(one, side) for one in looks]) for side in ("width", "height")},
        odd_sizes=tuple(_odd_sizes(paths, looks)),
        input_size=input_size,
        tiny=tuple(path for path, one in zip(paths, looks, strict=True) if min(one.width, one.height) < input_size),
        grey=len(grey),
        odd_colours=tuple(few),
        flat=tuple(path for path, one in zip(paths, looks, strict=True) if one.look.flat),
        turned=sum(one.turned for one in looks),
    )


def _check_no_file(root: Path) -> None:
    if root.is_file():
        raise DataError(
            f"{root} is a file, and tlkit inspect looks at folders alone. Give it a folder with one folder of photos "
            "per class."
        )


def _counts(folder: Folder) -> dict[str, dict[str, int]]:
    counts = {name: dict.fromkeys(folder.photos, 0) for name in folder.classes}
    for part, photos in folder.photos.items():
        for photo in photos:
            counts[folder.classes[photo.label]][part] += 1
    return counts


def _groups(
    folder: Folder,
    photos: Sequence[tuple[str, Photo]],
    seen: Sequence[_Seen],
    similarity: float,
    progress: Progress,
) -> tuple[Group, ...]:
    """Groups what is the same: copies, and pictures with all their copies."""
    by_hash: dict[str, list[int]] = defaultdict(list)
    for index, (_, photo) in enumerate(photos):
        by_hash[photo.sha256].append(index)

    def group(kind: str, members: Iterable[int], least: float) -> Group:
        listed = sorted((photos[i][1].path, photos[i][0], folder.classes[photos[i][1].label]) for i in members)
        paths, splits, classes = zip(*listed, strict=True)
        return Group(kind=kind, paths=paths, splits=splits, classes=classes, similarity=least)

    found = [group("copies", members, 1.0) for members in by_hash.values() if len(members) > 1]
    if similarity < 1:
        firsts = [members[0] for members in by_hash.values() if not seen[members[0]].look.flat]
        for kind, members, least in _near_groups(photos, seen, firsts, similarity, progress):
            found.append(group(kind, [i for one in members for i in by_hash[photos[one][1].sha256]], least))
    return tuple(sorted(found, key=lambda one: (not one.conflicts, not one.crosses, one.kind, one.paths)))


def _near_groups(
    photos: Sequence[tuple[str, Photo]],
    seen: Sequence[_Seen],
    firsts: Sequence[int],
    similarity: float,
    progress: Progress,
) -> Iterable[tuple[str, list[int], float]]:
    """Yields kind, indices and smallest similarity of groups that look the same."""
    with progress.bar("Comparing photos", len(firsts)) as bar:
        links = near([seen[i].look for i in firsts], [photos[i][1].label for i in firsts], similarity)
        bar.advance(len(firsts))
    group_of: dict[int, list[int]] = {}
    facts: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for link in links:
        one, other = (group_of.setdefault(firsts[i], [firsts[i]]) for i in (link.one, link.other))
        facts[id(one)] += [*facts.pop(id(other), ()), (link.similarity, link.mirrored)]
        one += other
        group_of.update(dict.fromkeys(other, one))
    for members in {id(one): one for one in group_of.values()}.values():
        least, mirrored = zip(*facts[id(members)], strict=True)
        yield "mirrored" if any(mirrored) else "near", members, min(least)


def _leaks(folder: Folder, groups: Sequence[Group]) -> Leaks | None:
    """Returns what the split of `tlkit finetune` does to the groups: it takes out copies, and knows no others."""
    try:
        parts = split(folder, seed=0)
    except DataError:
        return None  # too few photos: training will say so
    trained = {photo.path for photo in parts.train}
    held_out = {photo.path for photo in parts.held_out}
    seen_twice = [held_out.intersection(group.paths) for group in groups if trained.intersection(group.paths)]
    paths = tuple(sorted(set().union(*seen_twice)))
    return Leaks(automatic=not folder.photos.get("val"), held_out=len(held_out), paths=paths)


def _spread(values: Sequence[int]) -> tuple[int, int, int]:
    return min(values), int(np.median(values)), max(values)


def _odd_sizes(paths: Sequence[str], seen: Sequence[_Seen]) -> Iterable[Problem]:
    """Yields photos far from the median in area, or in the ratio of their longer side to the shorter."""
    sides = np.array([(one.width, one.height) for one in seen], float)
    areas, ratios = sides.prod(axis=1), sides.max(axis=1) / sides.min(axis=1)
    odd_areas, odd_ratios = _odd(areas, _ODD_AREA), _odd(ratios, _ODD_RATIO)
    for i in np.flatnonzero(odd_areas | odd_ratios).tolist():
        reasons = []
        if odd_areas[i]:
            times = areas[i] / np.median(areas)
            reasons.append(f"{max(times, 1 / times):.1f} times {'larger' if times > 1 else 'smaller'} than most")
        if odd_ratios[i]:
            reasons.append(f"sides {ratios[i]:.1f} : 1, most {np.median(ratios):.1f} : 1")
        yield Problem(paths[i], f"{seen[i].width} x {seen[i].height}: {some(reasons)}")


def _odd(values: np.ndarray, times: float) -> np.ndarray:
    """Returns `[N]` whether values are over `times` the median, or under it by as much, and beyond the usual spread."""
    distance = np.abs(np.log(values / np.median(values)))
    deviation = np.median(distance) / 0.6745  # that of a normal distribution
    return (distance > np.log(times)) & (distance > _ODD_DEVIATIONS * deviation)
