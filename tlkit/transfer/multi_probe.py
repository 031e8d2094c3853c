"""The probe of `--freeze auto` where photos have any number of labels."""

import numpy as np

# Of ridge regression on standardized features, for each number that a photo's features hold.
STRENGTH = 1.0


def probe(features: np.ndarray, labels: np.ndarray, *, folds: int, seed: int) -> int:
    """Returns of how many photos a linear classifier tells a label wrong when it was trained on the others.

    All classes are fitted in one solution of ridge regression to -1 and 1: logistic regression, class by class, takes
    as many times longer as there are classes.

    Args:
        features: `[photos, ...]`.
        labels: `[photos, classes]`, 1 where a photo has the label.
        folds: Of the cross-validation.
        seed: Of the folds.
    """
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    flat = features.reshape(len(features), -1)
    classifier = make_pipeline(StandardScaler(), Ridge(alpha=STRENGTH * flat.shape[1]))
    parts = KFold(folds, shuffle=True, random_state=seed)
    found = cross_val_predict(classifier, flat, 2 * labels - 1, cv=parts)
    return int(np.sum(((found >= 0) != (labels > 0.5)).any(axis=1)))


def sample(photos: int, most: int, *, seed: int) -> np.ndarray:
    """Returns indices of photos to probe, sorted."""
    return np.sort(np.random.default_rng(seed).permutation(photos)[:most])
