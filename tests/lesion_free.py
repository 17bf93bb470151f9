"""The visit of a simulated participant who has no lesion."""

from pathlib import Path
from typing import Any

import numpy as np

from mesems_mri.dataset.layout import Layout
from mesems_mri.simulate.defects import LESION_FREE_PARTICIPANT
from mesems_mri.simulate.sites import make_sites
from mesems_mri.simulate.subject import make_subject
from mesems_mri.simulate.truth import TruthLedger
from mesems_mri.simulate.visits import Folders, SimulatedVisit, make_visit


def make_lesion_free_visit(bids_dir: Path) -> dict[str, Any]:
    """Write the first visit of the participant without lesions; return its true row of the visit table.

    What `simulate` writes for the fourth participant of a trial, without the three others.
    """
    (site,) = make_sites(1, np.random.default_rng(0))
    subject = make_subject(0, LESION_FREE_PARTICIPANT, site, quick=True)
    identity = {"study_id": "s", "site_id": site.site_id, "participant_id": subject.participant_id}
    truth_ledger = TruthLedger(identity, subject.head, {})
    folders = Folders(bids_dir, Layout(bids_dir / "derivatives" / "truth"))
    visit = SimulatedVisit(0, "ses-w00", week=0, first_week=0, day=subject.day(0), defect=None)
    make_visit(folders, subject, next(subject.lesion_states([0])), visit, truth_ledger)
    return truth_ledger.visits[0]
