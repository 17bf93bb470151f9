"""How much is tried: a part each time, all of it in the nightly tests (``make test-nightly``)."""

import os
from typing import TypeVar

NIGHTLY = os.environ.get("MESEMS_NIGHTLY") == "1"
T = TypeVar("T")


def amount(usual: T, nightly: T) -> T:
    """Return how many, or which, cases to try: the usual ones, or all of them with ``MESEMS_NIGHTLY=1``."""
    return nightly if NIGHTLY else usual
