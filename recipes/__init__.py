"""Importable recipes."""
