"""Figures of PyTorch and torchvision, and what makes them anew."""
