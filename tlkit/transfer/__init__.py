"""Transfer learning: what is frozen, what is computed once, what is trained."""
