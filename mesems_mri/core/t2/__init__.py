"""T2 lesions, their change, and black holes."""
