"""The phantom trial with exact truth."""
