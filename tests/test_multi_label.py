"""Figures of any number of labels are those of scikit-learn; thresholds are the best there are."""

import numpy as np
import pytest
from sklearn import metrics as reference

from tlkit import multi_label


def decided(photos=200, classes=5, seed=0, steps=None):
    """Probabilities that tell something of random labels; with `steps` many are equal."""
    random = np.random.default_rng(seed)
    labels = (random.random((photos, classes)) < np.linspace(0.05, 0.6, classes)).astype(np.float32)
    probabilities = np.clip(0.3 * labels + random.uniform(0, 0.7, labels.shape), 0, 1)
    return (probabilities if steps is None else np.round(probabilities * steps) / steps), labels


@pytest.mark.parametrize("steps", [None, 256, 8])
def test_average_precision_is_that_of_scikit_learn(steps):
    probabilities, labels = decided(steps=steps)
    wanted = reference.average_precision_score(labels, probabilities, average=None)
    assert np.allclose(multi_label.average_precision(probabilities, labels), wanted)
    assert multi_label.mean_average_precision(probabilities, labels) == pytest.approx(wanted.mean())


def test_a_class_that_no_photo_shows_is_left_out_of_the_mean():
    probabilities, labels = decided()
    labels[:, 2] = 0
    found = multi_label.average_precision(probabilities, labels)
    assert np.isnan(found[2])
    assert multi_label.mean_average_precision(probabilities, labels) == pytest.approx(np.delete(found, 2).mean())
    figures = multi_label.figures(probabilities, labels, [0.5] * 5, list("abcde"))
    assert figures["per_class"][2]["average_precision"] is None


def test_figures_are_those_of_scikit_learn():
    probabilities, labels = decided()
    thresholds = [0.2, 0.4, 0.5, 0.6, 0.3]
    found = multi_label.figures(probabilities, labels, thresholds, list("abcde"))
    taken = probabilities >= thresholds
    assert found["micro_f1"] == pytest.approx(reference.f1_score(labels, taken, average="micro"))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(labels, taken, average="macro"))
    assert found["subset_accuracy"] == pytest.approx(reference.accuracy_score(labels, taken))
    assert found["hamming_loss"] == pytest.approx(reference.hamming_loss(labels, taken))
    assert found["accuracy"] == pytest.approx(1 - found["hamming_loss"])
    columns = zip(labels.T, probabilities.T, strict=True)
    assert found["log_loss"] == pytest.approx(np.mean([reference.log_loss(one, p) for one, p in columns]))
    for name, score in (("precision", reference.precision_score), ("recall", reference.recall_score)):
        wanted = score(labels, taken, average=None, zero_division=0)
        assert [row[name] for row in found["per_class"]] == pytest.approx(list(wanted))
    assert [row["images"] for row in found["per_class"]] == labels.sum(axis=0).tolist()
    assert [row["threshold"] for row in found["per_class"]] == thresholds


def test_nothing_that_is_no_number_gets_into_the_figures_of_photos_without_labels():
    found = multi_label.figures(np.full((3, 2), 0.1), np.zeros((3, 2)), [0.5, 0.5], ["a", "b"])
    assert found["map"] is None and found["macro_f1"] is None
    assert found["accuracy"] == 1 and found["micro_f1"] == 0


@pytest.mark.parametrize("seed", range(4))
def test_no_other_threshold_has_a_larger_f1(seed):
    probabilities, labels = decided(photos=80, seed=seed)
    chosen = multi_label.choose_thresholds(probabilities, labels)
    for column, present, threshold in zip(probabilities.T, labels.T, chosen, strict=True):
        if present.sum() < multi_label.MIN_POSITIVES:
            assert threshold == 0.5
            continue
        best = max(reference.f1_score(present, column >= one) for one in np.linspace(0, 1, 1001))
        assert reference.f1_score(present, column >= threshold) >= best - 1e-12


def test_of_equally_good_thresholds_the_nearest_to_a_half_is_chosen():
    present = np.array([0, 0, 0, 1, 1, 1, 1, 1])[:, None]

    def chosen(*probabilities):
        return multi_label.choose_thresholds(np.array(probabilities)[:, None], present)[0]

    assert chosen(0.1, 0.2, 0.3, 0.7, 0.8, 0.8, 0.9, 0.9) == 0.5  # any from 0.3 to 0.7 is right
    assert chosen(0.1, 0.1, 0.2, 0.3, 0.4, 0.4, 0.6, 0.7) == pytest.approx(0.25)  # the middle of the gap
    assert chosen(0.7, 0.7, 0.8, 0.9, 0.95, 0.95, 0.96, 0.97) == pytest.approx(0.85)


@pytest.mark.parametrize("positives", [0, 1, 4, 20])
def test_too_few_photos_with_or_without_a_class_keep_its_threshold_at_a_half(positives):
    present = (np.arange(20) < positives).astype(float)[:, None]
    assert multi_label.choose_thresholds(np.where(present, 0.9, 0.8), present)[0] == 0.5
    five = (np.arange(20) < 5).astype(float)[:, None]
    assert multi_label.choose_thresholds(np.where(five, 0.9, 0.8), five)[0] == pytest.approx(0.85)


def test_balanced_weights_make_both_sides_of_a_class_weigh_the_same():
    _, labels = decided()
    labels[:, 4] = 0
    absent, present = multi_label.balanced_weights(labels)
    shown = labels.sum(axis=0)
    assert np.allclose((absent * (200 - shown))[:4], (present * shown)[:4])
    assert np.allclose(((absent * (200 - shown)) + present * shown)[:4], 200)
    assert absent[4] == present[4] == 1


def test_prior_logits_are_those_of_the_frequencies():
    _, labels = decided(photos=5000)
    frequencies = 1 / (1 + np.exp(-multi_label.prior_logits(labels)))
    assert np.allclose(frequencies, labels.mean(axis=0), atol=1e-3)
    assert np.isfinite(multi_label.prior_logits(np.zeros((10, 2)))).all()
