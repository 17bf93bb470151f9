"""Gadolinium-enhancing lesions (GEL)."""
