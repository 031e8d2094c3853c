"""tlkit: transfer learning with Keras 3, and export to the edge with proof.

`import tlkit` is instant: what it offers (`finetune`, `resume`, `build`, `load_run`, `Run`) is loaded on first use.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tlkit.api import Run, build, finetune, load_run, resume

__all__ = ["Run", "__version__", "build", "finetune", "load_run", "resume"]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in __all__:
        raise AttributeError(f"module 'tlkit' has no attribute {name!r}")
    from tlkit import api

    return getattr(api, name)
