"""External programs, each behind one class."""
