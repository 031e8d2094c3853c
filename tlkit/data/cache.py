"""The user's cache folder: what can be made again. `TLKIT_CACHE` moves it."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Returns the cache folder; it need not exist yet."""
    return Path(os.environ.get("TLKIT_CACHE") or platformdirs.user_cache_dir("tlkit"))
