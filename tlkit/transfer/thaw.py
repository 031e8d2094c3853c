"""What the first epoch of newly thawed stages may lose."""

import math

# How often a phase begins again after its first epoch lost too much, and with what part of the learning rate.
RETRIES, RETRY = 2, 0.3


def loss_beyond_chance(was: float, now: float, photos: int) -> float:
    """Returns what a share of right answers lost, less what chance explains: two standard errors of a difference.

    Args:
        was, now: Shares of right answers, or mean average precisions; nothing is lost where one is not a number.
        photos: How many they are of: of few photos some change sides by chance.
    """
    if not (math.isfinite(was) and math.isfinite(now)):
        return 0.0
    return was - now - 2 * math.sqrt(2 * was * (1 - was) / photos)
