"""How far an artifact may be from the Keras model, by precision (contract 3), and the verdict."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tlkit.errors import ParityError


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What an artifact must reach; None is not asked.

    Attributes:
        max_probability_difference: The largest over all photos and classes.
        min_agreement: Fraction of photos with the same top-1 class.
        max_drop: Largest loss of accuracy, a fraction; two photos are always allowed.
    """

    max_probability_difference: float | None = None
    min_agreement: float | None = None
    max_drop: float | None = None

    def overridden(self, *, min_agreement: float | None, max_drop: float | None) -> "Limit":
        """Returns the limit with what the user set instead. An agreement replaces a probability difference."""
        return Limit(
            max_probability_difference=self.max_probability_difference if min_agreement is None else None,
            min_agreement=self.min_agreement if min_agreement is None else min_agreement,
            max_drop=self.max_drop if max_drop is None else max_drop,
        )


LIMITS = {
    "float32": Limit(max_probability_difference=1e-4),
    "float16": Limit(min_agreement=0.995, max_drop=0.005),
    "dynamic": Limit(min_agreement=0.98, max_drop=0.01),
    "int8": Limit(min_agreement=0.97, max_drop=0.01),
}
_ALLOWED_PHOTOS = 2


@dataclass(frozen=True, kw_only=True)
class Parity:
    """An artifact against the Keras model on the photos that training did not see: contract 3's figures."""

    images: int
    top1_agreement: float | None
    accuracy: float
    keras_accuracy: float
    accuracy_change: float
    max_probability_difference: float
    limit: Limit

    def to_dict(self) -> dict[str, Any]:
        """Returns the manifest's `parity`."""
        return asdict(self)

    @property
    def agreement(self) -> tuple[str, float]:
        """What it is the agreement of, and its share."""
        return "top-1 agreement", self.top1_agreement or 0.0

    @property
    def losses(self) -> list[tuple[str, float, float]]:
        """The figures that may not fall: name, of the Keras model, of the artifact."""
        return [("accuracy", self.keras_accuracy, self.accuracy)]


def measure_parity(artifact: np.ndarray, keras: np.ndarray, labels: np.ndarray, limit: Limit) -> Parity:
    """Compares probabilities `[images, classes]` of the artifact and of the Keras model; labels are `[images]`."""
    top, top_keras = artifact.argmax(axis=1), keras.argmax(axis=1)
    accuracy, keras_accuracy = float(np.mean(top == labels)), float(np.mean(top_keras == labels))
    return Parity(
        images=len(labels),
        top1_agreement=float(np.mean(top == top_keras)),
        accuracy=accuracy,
        keras_accuracy=keras_accuracy,
        accuracy_change=accuracy - keras_accuracy,
        max_probability_difference=largest_difference(artifact, keras),
        limit=limit,
    )


def largest_difference(artifact: np.ndarray, keras: np.ndarray) -> float:
    """Returns the largest difference of probabilities; infinite where one of the artifact's is not a number."""
    return float(np.abs(artifact - keras).max()) if np.isfinite(artifact).all() else float("inf")


def shortfalls(parity: Parity) -> list[str]:
    """Returns what is beyond the limit, in words; empty when nothing is. A gain in accuracy never is."""
    limit, found = parity.limit, []
    if limit.max_probability_difference is not None:
        if not parity.max_probability_difference <= limit.max_probability_difference:
            found.append(
                f"probabilities differ by up to {parity.max_probability_difference:.2g}; "
                f"the limit is {limit.max_probability_difference:g}"
            )
    elif not np.isfinite(parity.max_probability_difference):
        found.append("some probabilities are not numbers")
    what, agreement = parity.agreement
    if limit.min_agreement is not None and agreement < limit.min_agreement:
        found.append(f"{what} is {agreement:.2%}; the limit is {limit.min_agreement:.2%}")
    allowed = max(limit.max_drop or 0.0, _ALLOWED_PHOTOS / parity.images)
    for what, before, after in parity.losses if limit.max_drop is not None else ():
        if before - after > allowed + 1e-12:
            found.append(f"{what} falls from {before:.2%} to {after:.2%}; at most {allowed:.2%} may be lost")
    return found


def check_parity(parity: Parity, *, name: str, worst: str = "", advice: str = "") -> None:
    """Passes only what is within the limit.

    Args:
        parity: What was measured.
        name: Of the artifact, for the message.
        worst: A sentence on the layers that lose most.
        advice: What to try.

    Raises:
        ParityError: something is beyond the limit.
    """
    if found := shortfalls(parity):
        reasons = "; ".join(found)
        raise ParityError(
            f"{name} was not made. On {parity.images} photos that training did not see, {reasons}.{worst} {advice}"
        )
