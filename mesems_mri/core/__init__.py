"""Computations on arrays: numpy, scipy and scikit-image only; no files, no images."""
