"""Which training photos int8 is calibrated on: evenly over the classes, seeded."""

from collections import defaultdict
from itertools import zip_longest

import numpy as np

from tlkit.data.discover import Photo
from tlkit.data.multi_label import labels_of

DEFAULT_CALIBRATION = 200


def choose(photos: list[Photo], count: int, *, seed: int) -> list[Photo]:
    """Chooses photos in turn from every class, each once; seeded, independent of the order given."""
    by_class: dict[int, list[Photo]] = defaultdict(list)
    for photo in sorted(photos, key=lambda photo: photo.sha256):
        for label in labels_of(photo) or (-1,):
            by_class[label].append(photo)
    for label, members in by_class.items():
        np.random.default_rng([seed, label % 2**32]).shuffle(members)  # -1: without a label
    turns = zip_longest(*(by_class[label] for label in sorted(by_class)))
    return list(dict.fromkeys(photo for turn in turns for photo in turn if photo is not None))[:count]
