"""Architectures as their papers tabulate them: one file per paper, Keras only."""
