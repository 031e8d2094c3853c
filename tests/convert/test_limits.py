"""The verdict of contract 3."""

import numpy as np
import pytest

from tlkit.convert.limits import LIMITS, Limit, check_parity, measure_parity, shortfalls
from tlkit.errors import ParityError


def one_hot(classes, of=3):
    return np.eye(of)[np.array(classes)]


def parity(artifact, keras, labels, limit):
    return measure_parity(one_hot(artifact), one_hot(keras), np.array(labels), limit)


def test_the_limits_are_those_of_the_contract():
    assert LIMITS["float32"] == Limit(max_probability_difference=1e-4)
    assert LIMITS["float16"] == Limit(min_agreement=0.995, max_drop=0.005)
    assert LIMITS["dynamic"] == Limit(min_agreement=0.98, max_drop=0.01)
    assert LIMITS["int8"] == Limit(min_agreement=0.97, max_drop=0.01)


def test_figures_are_measured_against_keras_and_labels():
    found = parity([0, 1, 2, 0], [0, 1, 1, 1], [0, 1, 1, 0], Limit())
    assert (found.images, found.top1_agreement, found.accuracy, found.accuracy_change) == (4, 0.5, 0.75, 0.0)
    assert found.max_probability_difference == 1.0


def test_two_photos_may_always_be_lost():
    labels = [0] * 100
    for lost, passes in ((2, True), (3, False)):
        found = parity([1] * lost + [0] * (100 - lost), labels, labels, Limit(max_drop=0.01))
        assert (shortfalls(found) == []) == passes


def test_above_200_photos_the_percentage_counts():
    labels = [0] * 1000
    for lost, passes in ((10, True), (11, False)):
        found = parity([1] * lost + [0] * (1000 - lost), labels, labels, Limit(max_drop=0.01))
        assert (shortfalls(found) == []) == passes


def test_a_gain_never_fails():
    found = parity([0] * 100, [1] * 50 + [0] * 50, [0] * 100, Limit(max_drop=0.0))
    assert found.accuracy_change == 0.5
    assert shortfalls(found) == []


def test_a_probability_difference_beyond_the_limit_fails():
    a = np.full((5, 2), 0.5)
    for difference, passes in ((9e-5, True), (2e-4, False)):
        found = measure_parity(a + [difference, -difference], a, np.zeros(5, int), LIMITS["float32"])
        assert (shortfalls(found) == []) == passes


def test_what_is_not_a_number_fails_whatever_the_limit():
    broken = np.full((5, 2), np.nan)
    for limit in (LIMITS["float32"], LIMITS["int8"], Limit(min_agreement=0.0)):
        assert shortfalls(measure_parity(broken, np.full((5, 2), 0.5), np.zeros(5, int), limit))


def test_a_failure_gives_n_the_figures_and_what_to_try():
    found = parity([1] * 20 + [0] * 80, [0] * 100, [0] * 100, LIMITS["int8"])
    with pytest.raises(ParityError) as caught:
        check_parity(found, name="model.int8.tflite", worst=" Worst: x.", advice="Try y.")
    assert str(caught.value) == (
        "model.int8.tflite was not made. On 100 photos that training did not see, top-1 agreement is 80.00%; the limit "
        "is 97.00%; accuracy falls from 100.00% to 80.00%; at most 2.00% may be lost. Worst: x. Try y."
    )
    assert caught.value.exit_code == 3


def test_overrides_replace_the_limit_and_are_recorded():
    assert LIMITS["float32"].overridden(min_agreement=0.99, max_drop=None) == Limit(min_agreement=0.99)
    limit = LIMITS["int8"].overridden(min_agreement=0.8, max_drop=None)
    assert limit == Limit(min_agreement=0.8, max_drop=0.01)
    found = parity([1] * 1 + [0] * 9, [0] * 10, [0] * 10, limit)
    assert shortfalls(found) == []
    assert found.to_dict()["limit"]["min_agreement"] == 0.8
