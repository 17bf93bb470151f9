"""Visits as the run left them, kept in memory for the desk of the readers."""

import threading
from collections import OrderedDict

from mesems_mri.review import actions
from mesems_mri.review.findings import open_findings
from mesems_mri.review.pictures import Gallery, Picture, list_pictures
from mesems_mri.review.state import Finding
from mesems_mri.review.store import ReadingSettings
from mesems_mri.review.visit import FoundVisit, load_dsegs, load_visit

_KEPT_OPENINGS = 16


class FoundVisits:
    """Visits as the run left them.

    Parameters
    ----------
    settings : ReadingSettings
    """

    def __init__(self, settings: ReadingSettings) -> None:
        self.settings = settings
        self.layout = settings.layout
        self.gallery = Gallery(self.layout)
        self._visits: dict[tuple[str, str], tuple[int, FoundVisit]] = {}
        self._openings: OrderedDict[str, list[Finding]] = OrderedDict()
        self._visits_lock = threading.Lock()

    def visit(self, key: tuple[str, str]) -> FoundVisit:
        """Return what the run found at a visit; read again when its record has changed."""
        path = self.layout.metrics(*key)
        stamp = path.stat().st_mtime_ns if path.is_file() else 0
        known = self._visits.get(key)
        if known is None or known[0] != stamp:
            known = (stamp, load_visit(self.layout, *key))
            self._visits[key] = known
        return known[1]

    def prior(self, visit: FoundVisit) -> FoundVisit | None:
        """Return the visit that is shown beside one: its T2 reference, else the GEL reference."""
        if self.settings.order_hidden:
            return None
        for name in ("t2_reference_session_id", "gel_reference_session_id"):
            session = visit.metrics[name]
            if session and self.layout.metrics(visit.participant_id, session).is_file():
                return self.visit((visit.participant_id, session))
        return None

    def pictures(self, visit: FoundVisit) -> dict[str, Picture]:
        """Return the images that the page shows of a visit, by name."""
        return {picture.name: picture for picture in list_pictures(visit, self.prior(visit))}

    def place(self, visit: FoundVisit) -> actions.Place:
        """Return the grid of a visit with its planes."""
        assert visit.grid is not None  # a visit without images is not read
        return actions.Place(visit.grid, visit.planes)

    def made(self, visit: FoundVisit) -> list[Finding]:
        """Return the findings of a visit as the run left them."""
        with self._visits_lock:
            known = self._openings.get(visit.basis)
        if known is None:
            known = open_findings(visit, load_dsegs(self.layout, visit))
            with self._visits_lock:
                self._openings[visit.basis] = known
                while len(self._openings) > _KEPT_OPENINGS:
                    self._openings.popitem(last=False)
        return known
