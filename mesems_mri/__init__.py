"""Count active multiple-sclerosis lesions on the MRI of multi-site trials."""

__version__ = "0.1.0"
