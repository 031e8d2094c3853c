"""What an inspection of a folder of photos found, as values."""

from dataclasses import asdict, dataclass
from typing import Any

from tlkit.data.discover import Problem

# Of the largest class over the smallest: below this, weights change little.
IMBALANCE = 1.5


@dataclass(frozen=True, kw_only=True)
class Group:
    """Photos that are the same.

    Attributes:
        kind: `copies` (the same bytes), `near` (the same picture) or `mirrored` (some of it in a mirror).
        paths: Sorted.
        splits: Of each path, `train`, `val`, `test` or `all`, as the folders have it.
        classes: Of each path.
        similarity: The smallest correlation by which the group holds together, in [0, 1]; 1 for copies.
    """

    kind: str
    paths: tuple[str, ...]
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    similarity: float

    @property
    def crosses(self) -> bool:
        """Whether it lies in several splits."""
        return len(set(self.splits)) > 1

    @property
    def conflicts(self) -> bool:
        """Whether one picture has several labels."""
        return len(set(self.classes)) > 1


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """Held-out photos that training sees all the same, after the split that `tlkit finetune` would make.

    Attributes:
        automatic: Whether tlkit chooses held-out photos, with its default seed; else all of them are in folders.
        held_out: Photos in val and test.
        paths: Those of them with a near duplicate in train.
    """

    automatic: bool
    held_out: int
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `inspect` found. Paths are relative to `root`.

    Attributes:
        root: The folder.
        layout: `classes` or `splits`.
        counts: By class, the usable photos in each split.
        imbalance: Photos of the largest class over those of the smallest, in train.
        unusable: Files that would be left out, and why.
        groups: Photos that are the same, those with several labels first, then those in several splits.
        leaks: None where the photos are too few to be split.
        sizes: Smallest, median and largest width and height, in pixels.
        odd_sizes: Photos much larger, smaller, wider or higher than the others.
        input_size: What `tiny` compares with.
        tiny: Photos with a side below it: they would be enlarged.
        grey: How many photos have no colour.
        odd_colours: The grey ones among colour photos, or the other way round.
        flat: Photos of a single colour.
        turned: How many have an EXIF block that turns them; tlkit does.
    """

    root: str
    layout: str
    counts: dict[str, dict[str, int]]
    imbalance: float
    unusable: tuple[Problem, ...]
    groups: tuple[Group, ...]
    leaks: Leaks | None
    sizes: dict[str, tuple[int, int, int]]
    odd_sizes: tuple[Problem, ...]
    input_size: int
    tiny: tuple[str, ...]
    grey: int
    odd_colours: tuple[str, ...]
    flat: tuple[str, ...]
    turned: int

    @property
    def photos(self) -> int:
        """How many can be used."""
        return sum(sum(one.values()) for one in self.counts.values())

    @property
    def conflicts(self) -> tuple[Group, ...]:
        """Groups with several labels."""
        return tuple(group for group in self.groups if group.conflicts)

    @property
    def crossing(self) -> tuple[Group, ...]:
        """Groups in several splits."""
        return tuple(group for group in self.groups if group.crosses)

    def harms(self) -> list[str]:
        """Returns what makes figures of accuracy wrong, as `what: how many`."""
        leaked = self.leaks.paths if self.leaks else ()
        found = {
            "files that can't be used": self.unusable,
            "pictures with several labels": self.conflicts,
            "pictures in several splits": self.crossing,
            "held-out photos with a near duplicate in train": leaked,
        }
        return [f"{what}: {len(those):,}" for what, those in found.items() if those]

    def advice(self) -> str | None:
        """Returns what to do about classes of different sizes; None when they are alike."""
        if self.imbalance < IMBALANCE:
            return None
        return (
            f"The largest class has {self.imbalance:.1f} times the photos of the smallest: train with --class-weight "
            "auto, and read recall by class, not accuracy alone."
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns it as `--json` prints it."""
        found = asdict(self)
        for shown, group in zip(found["groups"], self.groups, strict=True):
            shown |= {"crosses_splits": group.crosses, "label_conflict": group.conflicts}
        return {**found, "photos": self.photos, "advice": self.advice(), "harms": self.harms()}
