"""Agreement with a reference standard, and comparison of two output folders."""
