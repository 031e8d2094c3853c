"""From a folder of photos to batches of pixels."""
