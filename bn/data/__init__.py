"""Data sets, their loaders, and the order of the training examples."""
