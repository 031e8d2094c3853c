"""Labels of photos as arrays, and the split of photos that have any number of them."""

from collections.abc import Sequence

import numpy as np

from tlkit.data.discover import Photo


def labels_of(photo: Photo) -> tuple[int, ...]:
    """Returns all classes of a photo: one, or with several labels allowed, any number."""
    return (photo.label,) if photo.labels is None else photo.labels


def label_array(photos: Sequence[Photo], classes: int) -> np.ndarray:
    """Returns `[photos]` class indices, or `[photos, classes]` float32, 1 where a photo has the label, else 0.

    Args:
        photos: All of one kind.
        classes: How many there are.
    """
    if all(photo.labels is None for photo in photos):
        return np.array([photo.label for photo in photos], np.int64)
    found = np.zeros((len(photos), classes), np.float32)
    for row, photo in zip(found, photos, strict=True):
        row[list(labels_of(photo))] = 1
    return found


def take_evenly(photos: Sequence[Photo], fraction: float, *, seed: int, least: int) -> tuple[list[Photo], list[Photo]]:
    """Splits off a seeded fraction of photos with any number of labels, of each class alike.

    The class with the fewest photos left is dealt out next, each photo to the part that still wants most of that class
    (Sechidis et al., On the Stratification of Multi-label Data, ECML PKDD 2011, algorithm 1). Departure: a part wants
    whole photos, and at least one of each class that has `least`; and a class that ends up only in the part split off
    gives one back.

    Returns:
        What is kept and what is taken, each sorted by path. The choice depends on the photos' hashes, not their names.
    """
    photos = sorted(photos, key=lambda photo: photo.sha256)
    photos = [photos[i] for i in np.random.default_rng([seed, 0]).permutation(len(photos))]
    labels = label_array(photos, 1 + max((label for photo in photos for label in labels_of(photo)), default=0)) > 0
    counts = labels.sum(axis=0)
    wanted = np.where(counts >= least, np.maximum(np.rint(counts * fraction), 1), 0)
    wants = np.stack([counts - wanted, wanted])  # of kept and taken, by class
    total = np.array([len(photos) * (1 - fraction), len(photos) * fraction])
    part = np.full(len(photos), -1)
    while (left := labels[part < 0].sum(axis=0)).any():
        rarest = int(np.where(left > 0, left, len(photos) + 1).argmin())
        for i in np.flatnonzero((part < 0) & labels[:, rarest]):
            part[i] = max((0, 1), key=lambda one: (wants[one, rarest], total[one]))
            wants[part[i], labels[i]] -= 1
            total[part[i]] -= 1
    for i in np.flatnonzero(part < 0):  # without a label
        part[i] = int(total[1] > total[0])
        total[part[i]] -= 1
    for label in np.flatnonzero(counts):
        if not labels[part == 0, label].any():
            part[np.flatnonzero(labels[:, label])[0]] = 0
    kept, taken = ([photos[i] for i in np.flatnonzero(part == one)] for one in (0, 1))
    return sorted(kept, key=lambda photo: photo.path), sorted(taken, key=lambda photo: photo.path)
