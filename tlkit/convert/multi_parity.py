"""An artifact against the Keras model where a photo has any number of labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlkit.convert.limits import Limit, Parity, largest_difference
from tlkit.multi_label import decisions, f1_scores, mean_average_precision


@dataclass(frozen=True, kw_only=True)
class MultiLabelParity(Parity):
    """Contract 3's figures for any number of labels; the most probable class alone says little there.

    Agreement is that of decisions, one for each photo and class, at the run's thresholds. With many classes most
    decisions are that a class is absent, and a file that finds nothing would agree on most of them: so mAP and micro
    F1, neither of which absent classes help, are the figures that may not fall. `top1_agreement` is None; the
    accuracies are shares of right decisions. mAP is None where no photo has a label.
    """

    decision_agreement: float
    map: float | None
    keras_map: float | None
    map_change: float | None
    micro_f1: float
    keras_micro_f1: float
    micro_f1_change: float

    @property
    def agreement(self) -> tuple[str, float]:
        """What it is the agreement of, and its share."""
        return "agreement of decisions", self.decision_agreement

    @property
    def losses(self) -> list[tuple[str, float, float]]:
        """The figures that may not fall: name, of the Keras model, of the artifact."""
        found = [("micro F1", self.keras_micro_f1, self.micro_f1)]
        if self.keras_map is not None and self.map is not None:
            found.insert(0, ("mAP", self.keras_map, self.map))
        return found


def measure_multi_label_parity(
    artifact: np.ndarray, keras: np.ndarray, labels: np.ndarray, thresholds: Sequence[float], limit: Limit
) -> MultiLabelParity:
    """Compares probabilities of the artifact and of the Keras model.

    Args:
        artifact, keras: `[images, classes]` probabilities.
        labels: `[images, classes]`, 1 where a photo has the label.
        thresholds: Of each class.
        limit: What is asked.
    """
    taken, taken_keras = decisions(artifact, thresholds), decisions(keras, thresholds)
    accuracy, keras_accuracy = (float(np.mean(one == (labels > 0.5))) for one in (taken, taken_keras))
    micro, keras_micro = (f1_scores(one, labels)[0] for one in (taken, taken_keras))
    labelled = bool((labels > 0.5).any())
    means = [mean_average_precision(one, labels) if labelled else None for one in (artifact, keras)]
    return MultiLabelParity(
        images=len(labels),
        top1_agreement=None,
        decision_agreement=float(np.mean(taken == taken_keras)),
        accuracy=accuracy,
        keras_accuracy=keras_accuracy,
        accuracy_change=accuracy - keras_accuracy,
        map=means[0],
        keras_map=means[1],
        map_change=None if means[0] is None or means[1] is None else means[0] - means[1],
        micro_f1=micro,
        keras_micro_f1=keras_micro,
        micro_f1_change=micro - keras_micro,
        max_probability_difference=largest_difference(artifact, keras),
        limit=limit,
    )
