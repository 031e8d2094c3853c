"""`--freeze auto`: how much to train, from the number of photos and what a classifier makes of the frozen features.

The rule of the lectures: with little data the head alone, with more the stages too. How little is little depends on how
far the photos are from those of the pretrained weights, and that a probe tells: a linear classifier on the features of
the training photos, cross-validated. Thawing can mend what the probe gets wrong; where that is next to nothing there is
nothing to gain, and with few photos something to lose.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.data.multi_label import label_array
from tlkit.models.auxiliary import without_auxiliaries
from tlkit.progress import Progress
from tlkit.transfer import multi_probe
from tlkit.transfer.features import NoRoomError, Parts, Wanted, computed, cut, features_of
from tlkit.transfer.plans import Choice

if TYPE_CHECKING:
    from tlkit.transfer.job import Prepared

FOLDS = 3
# The probe looks at no more photos, and no more numbers, than take it a few seconds.
PHOTOS, NUMBERS = 2000, 5_000_000
# Thawing pays from either on: what share of the photos the probe gets wrong, and how many photos that is.
SHARE, WRONG = 0.10, 50
# Epochs, learning rate and augmentation of a head that is trained alone: the best of those tried in 5-fold
# cross-validation over the training photos of ants_bees and of sign_digits (docs/training.md).
HEAD = 60, 1e-3, "light"
# Training steps that thawed stages need, and the epochs that this may come to.
STEPS, LEAST, MOST = 450, 10, 40


def choose(prepared: "Prepared", progress: Progress) -> Choice:
    """Chooses a strategy for photos and pretrained weights.

    Args:
        prepared: Built, with its weights.
        progress: Shows the pass through the network.

    Returns:
        `all-but-head`, or `head-then:none` with epochs for the number of photos.
    """
    count, several = len(prepared.photos.classes), prepared.photos.multi_label
    labels = label_array(prepared.photos.train, count)
    per_class = labels.sum(axis=0).astype(int) if several else np.bincount(labels, minlength=count)
    if np.sum(per_class >= FOLDS) < 2:
        return _head_alone(f"classes have fewer than {FOLDS} photos to train on")
    parts = cut(without_auxiliaries(prepared.twin), prepared.decided.architecture.stages)
    assert parts is not None  # there are stages
    most, seed = min(PHOTOS, NUMBERS // int(np.prod(parts.backbone.output.shape[1:]))), prepared.options.seed
    chosen = multi_probe.sample(len(labels), most, seed=seed) if several else _sample(labels, per_class, most)
    features = _features(prepared, parts, chosen, progress)
    if several:
        wrong = multi_probe.probe(features, labels[chosen], folds=FOLDS, seed=seed)
    else:
        wrong = probe(features, labels[chosen], seed=seed)
    return decide(
        len(labels),
        classes=int(np.sum(per_class > 0)),
        share=wrong / len(chosen),
        probed=len(chosen),
        batch_size=prepared.options.batch_size,
    )


def decide(photos: int, *, classes: int, share: float, probed: int, batch_size: int) -> Choice:
    """Applies the rule.

    Args:
        photos: To train on.
        classes: That have photos.
        share: Of the photos that the probe got wrong.
        probed: How many it was tried on.
        batch_size: Of training.
    """
    wrong = share * photos
    measured = {"photos": probed, "accuracy": round(1 - share, 4)}
    seen = (
        f"{photos / classes:.0f} photos a class in {classes} classes; a classifier on frozen features, "
        f"{FOLDS}-fold cross-validated, gets {1 - share:.1%} right"
    )
    if share < SHARE and wrong < WRONG:
        why = f"{seen}, and the {wrong:.0f} photos that it gets wrong are too few to learn more from"
        return _head_alone(why, measured)
    epochs = min(max(math.ceil(STEPS / math.ceil(photos / batch_size)), LEAST), MOST)
    why = f"{seen}, and thawed stages can learn from what it gets wrong"
    return Choice(strategy="head-then:none", why=why, epochs=2 * epochs, probe=measured)


def _head_alone(why: str, measured: dict[str, Any] | None = None) -> Choice:
    """Trains the head on views of the photos, longer and more slowly than `--freeze all-but-head` does by default."""
    epochs, rate, augment = HEAD
    return Choice(strategy="all-but-head", why=why, epochs=epochs, learning_rate=rate, augment=augment, probe=measured)


def probe(features: np.ndarray, labels: np.ndarray, *, seed: int) -> int:
    """Returns how many photos a linear classifier on features gets wrong when it was trained on the others.

    Args:
        features: `[photos, ...]`.
        labels: `[photos]`, each at least `FOLDS` times.
        seed: Of the folds.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    flat = features.reshape(len(features), -1)
    # Standardized, with a penalty of one for each feature, so that it suits every network; solved in one step, where
    # logistic regression takes ten times as long for the same answer.
    classifier = make_pipeline(StandardScaler(), RidgeClassifier(alpha=flat.shape[1]))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return int(np.sum(cross_val_predict(classifier, flat, labels, cv=folds) != labels))


def _sample(labels: np.ndarray, per_class: np.ndarray, most: int) -> np.ndarray:
    """Returns indices of photos to probe: of classes with enough of them, evenly."""
    enough = np.flatnonzero(per_class[labels] >= FOLDS)
    share = min(1.0, most / len(enough))
    parts = [enough[labels[enough] == label] for label in np.unique(labels[enough])]
    return np.sort(np.concatenate([part[: max(FOLDS, round(share * len(part)))] for part in parts]))


def _features(prepared: "Prepared", parts: Parts, chosen: np.ndarray, progress: Progress) -> np.ndarray:
    """Returns the output of the frozen stages for some training photos: from the cache, which training uses next."""
    photos, spec = prepared.photos, prepared.spec
    picked = [photos.train[i] for i in chosen]
    if prepared.options.cache:
        wanted = Wanted(root=photos.root, plain=photos.train + photos.held_out, spec=spec)
        try:
            features = features_of(parts, wanted, progress=progress)
        except NoRoomError:
            pass  # training says so
        else:
            return np.asarray(features.array[features.rows(picked)])
    return computed(parts, photos.root, picked, spec, progress)
