"""Our figures against scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.utils.class_weight import compute_class_weight

from tlkit import metrics


@pytest.fixture
def example():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(5), 300)
    labels = np.where(random.random(300) < 0.6, probabilities.argmax(axis=1), random.integers(0, 4, 300))
    return probabilities, labels


def test_accuracy_and_log_loss(example):
    probabilities, labels = example
    assert metrics.accuracy(probabilities, labels) == sk.accuracy_score(labels, probabilities.argmax(axis=1))
    assert metrics.log_loss(probabilities, labels) == pytest.approx(sk.log_loss(labels, probabilities))


@pytest.mark.parametrize("k", [1, 2, 3, 5, 9])
def test_top_k_accuracy(example, k):
    probabilities, labels = example
    expected = sk.top_k_accuracy_score(labels, probabilities, k=k, labels=range(5)) if k < 5 else 1.0
    assert metrics.top_k_accuracy(probabilities, labels, k) == pytest.approx(expected)


def test_calibration_error_of_an_example_by_hand():
    """Bins of a fifth: 0.5 and 0.6 share one (closed above), one of two right; 0.9 and 1.0 another, both right."""
    confidence = np.array([0.5, 0.6, 0.9, 1.0])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.array([0, 1, 0, 0])
    expected = 2 / 4 * abs(0.55 - 0.5) + 2 / 4 * abs(0.95 - 1.0)
    assert metrics.expected_calibration_error(probabilities, labels, bins=5) == pytest.approx(expected)


def test_a_classifier_that_is_always_sure_and_half_right_is_off_by_a_half():
    sure = np.eye(2)[[0, 0, 1, 1]]
    assert metrics.expected_calibration_error(sure, np.array([0, 1, 1, 0])) == 0.5
    assert metrics.expected_calibration_error(sure, np.array([0, 0, 1, 1])) == 0.0


def test_confusion_matrix(example):
    probabilities, labels = example
    expected = sk.confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(5))
    assert np.array_equal(metrics.confusion_matrix(probabilities, labels), expected)


def test_precision_and_recall(example):
    probabilities, labels = example
    ours = metrics.precision_recall(metrics.confusion_matrix(probabilities, labels))
    theirs = sk.precision_recall_fscore_support(labels, probabilities.argmax(axis=1), labels=range(5), zero_division=0)
    assert np.allclose(ours, theirs[:2])


def test_class_weights_are_the_balanced_ones():
    labels = np.array([0] * 30 + [1] * 10 + [2] * 5)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert np.allclose(metrics.balanced_class_weights(labels, 3), expected)


def test_a_class_that_is_never_predicted_has_precision_zero():
    confusion = np.array([[3, 0], [2, 0]])
    precision, recall = metrics.precision_recall(confusion)
    assert precision.tolist() == [0.6, 0.0]
    assert recall.tolist() == [1.0, 0.0]
