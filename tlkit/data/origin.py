"""Where photos came from, when it was not a folder of theirs."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a run records as `data.kind` and `data.source`.

    Attributes:
        kind: What the source is.
        source: The table or the records, an absolute path or pattern; empty for arrays.
    """

    kind: Literal["csv", "tsv", "parquet", "tfrecord", "arrays"]
    source: str
