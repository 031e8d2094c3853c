"""Importable recipes: each module has a `run` function that does one whole job and returns what it made."""
