"""Locked counts leave the centre: the bundle of the transfer carries them."""

from pathlib import Path

import pytest

from mesems_mri.dataset.columns import SITE_QUALITY_COLUMNS
from mesems_mri.dataset.tables import write_table
from mesems_mri.files import write_json
from mesems_mri.review.centre import lock_visit
from mesems_mri.transfer.build import BuildRequest, build
from mesems_mri.transfer.keys import make_keys
from tests.unit.review.reading_study import ReadingStudy
from tests.unit.review.service import Centre
from tests.unit.review.test_centre import VISIT, both_agree


@pytest.fixture
def bundle(own_study: ReadingStudy, tmp_path: Path) -> Path:
    centre = Centre(own_study, tmp_path / "reading.db", re_read_percent=0)
    both_agree(centre, reject_gel=True, add=True)
    lock_visit(centre.desk, VISIT, "max")
    centre.store.close()
    layout = own_study.layout
    (own_study.folder / "bids").mkdir()
    write_table(layout.site_quality(), SITE_QUALITY_COLUMNS, [])
    sites = {person: f"S{n % 2 + 1:02}" for n, person in enumerate(own_study.people)}
    write_json(layout.expected, {"sites": sites, "visits": {p: own_study.sessions for p in sites}})
    make_keys(tmp_path / "key")
    request = BuildRequest(out_dir=own_study.out_dir, key_file=str(tmp_path / "key"), sites=("S01",))
    (made,) = build(request, lambda _: None)
    return made


def test_bundle_carries_the_locked_counts(bundle: Path) -> None:
    rows = table(bundle / "visit_metrics.csv")
    (row,) = [row for row in rows if row["session_id"] == VISIT[1]]
    assert (row["gel_count"], row["t2_new_count"], row["read_status"]) == ("0", "2", "locked")
    (before,) = [row for row in rows if row["session_id"] == "ses-w00"]
    assert before["read_status"] == "automatic"
    lesions = [row for row in table(bundle / "lesions.csv") if row["session_id"] == VISIT[1]]
    assert sorted({row["decision"] for row in lesions}) == ["accepted", "added", "automatic", "rejected"]
    results = table(bundle / "nv.csv")
    evaluators = {row["NVEVALID"] for row in results}
    assert "LOCKED" in evaluators


def table(path: Path) -> list[dict[str, str]]:
    import csv

    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
