"""What is not right is refused with a reason and nothing of it is stored; its twin is accepted."""

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesems_mri.central import content, receive
from mesems_mri.central.receive import Source
from mesems_mri.central.rejection import RejectedError
from mesems_mri.dataset.columns import LEDGER_COLUMNS
from mesems_mri.transfer.manifest import MANIFEST, SIGNATURE
from tests.unit.central import damage
from tests.unit.central.bundles import MEMBERS, Bundle, entries, lesion, pack, query, sign, table, visit
from tests.unit.central.conftest import Trial
from tests.unit.central.damage import GOOD


def decide(trial: Trial, folder: Path) -> Any:
    return receive.receive(trial.store, pack(folder, trial.folder / "sent.tar"), Source(by="tester"))


@pytest.fixture
def bundle(trial: Trial) -> Path:
    """A bundle that is right."""
    GOOD.write(trial.folder / "bundle", trial.keys["S01"])
    return trial.folder / "bundle"


def refused(trial: Trial, folder: Path, words: str) -> None:
    """The bundle is refused with these words and stores nothing; then its twin, put right, is accepted."""
    empty = trial.counts()
    decision = decide(trial, folder)
    assert decision.receipt.status == "rejected"
    assert decision.http_status in (409, 413, 422)
    assert words in "\n".join(decision.receipt.reasons)
    assert trial.counts() == empty
    shutil.rmtree(folder)
    GOOD.write(folder, trial.keys["S01"])
    assert decide(trial, folder).accepted


@pytest.mark.parametrize("name", MEMBERS)
def test_one_flipped_bit(trial: Trial, bundle: Path, name: str) -> None:
    content_ = bytearray((bundle / name).read_bytes())
    content_[len(content_) // 2] ^= 1
    (bundle / name).write_bytes(content_)
    words = "no signature of this manifest" if name in (MANIFEST, SIGNATURE) else name
    refused(trial, bundle, words)


def test_another_key(trial: Trial, bundle: Path) -> None:
    GOOD.write(bundle, Ed25519PrivateKey.generate())
    refused(trial, bundle, "no signature of this manifest")


def test_the_key_of_another_site(trial: Trial, bundle: Path) -> None:
    GOOD.write(bundle, trial.keys["S02"])
    refused(trial, bundle, "no signature of this manifest")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "visit_metrics.csv/../../x", "nv.csv"])
def test_manifest_that_lists_another_file(trial: Trial, bundle: Path, name: str) -> None:
    files = entries(GOOD.files())
    files[0]["name"] = name
    sign(bundle, trial.keys["S01"], GOOD.head() | {"files": files})
    refused(trial, bundle, "manifest.json: ")


@pytest.mark.parametrize("member", ["../x", "link", "twice"])
def test_archive_with_another_member(trial: Trial, bundle: Path, member: str) -> None:
    archive = trial.folder / "odd.tar"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as stream:
        for name in MEMBERS[:-1]:
            stream.add(bundle / name, name)
        odd = tarfile.TarInfo({"../x": "../x", "link": MEMBERS[-1], "twice": MEMBERS[-2]}[member])
        odd.type = tarfile.SYMTYPE if member == "link" else tarfile.REGTYPE
        odd.linkname = "/etc/passwd" if member == "link" else ""
        stream.addfile(odd)
    decision = receive.receive(trial.store, archive, Source(by="tester"))
    assert "has the member" in decision.receipt.reasons[0]
    assert not (trial.folder.parent / "x").exists()
    assert sum(trial.counts().values()) == 0
    assert decide(trial, bundle).accepted


def test_forbidden_column_is_named_and_its_values_are_not(trial: Trial, bundle: Path) -> None:
    files = GOOD.files() | {"nv.csv": b"USUBJID,Treatment Arm\nMESEMS-S01-001,placebo\n"}
    files["nv.xpt"] = b"x"
    GOOD.write(bundle, trial.keys["S01"], files)
    decision = decide(trial, bundle)
    assert "'Treatment Arm' would unblind" in decision.receipt.reasons[0]
    refused(trial, bundle, "would unblind")
    with trial.store.reading() as connection:
        from mesems_mri.dataset import audit

        assert "placebo" not in " ".join(audit.listing(connection))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"study_id": "OTHER"}, "is of study OTHER"),
        ({"site_id": "S09"}, "site S09 is not registered"),
        ({"tables_schema_version": "9.0.0", "columns": True}, "use the same version on both sides"),
    ],
)
def test_another_study_site_or_schema(trial: Trial, bundle: Path, values: dict[str, Any], words: str) -> None:
    files = GOOD.files()
    if values.pop("columns", False):
        files["lesions.csv"] = table([*LEDGER_COLUMNS, "shade"], [])
    for name, content_ in files.items():
        (bundle / name).write_bytes(content_)
    sign(bundle, trial.keys["S01"], GOOD.head() | {"files": entries(files)} | values)
    refused(trial, bundle, words)


def with_visit(**values: Any) -> Callable[[], Bundle]:
    return lambda: Bundle([visit("sub-001", 0, [lesion(1)], **values), *GOOD.visits[1:]], GOOD.queries)


NO_GEL = {"gel_evaluable": False, "gel_reason": "artefact", "gel_count": None, "gel_volume_mm3": None}


def with_lesion(**values: Any) -> Callable[[], Bundle]:
    row, rows = visit("sub-001", 0, [lesion(1)])
    return lambda: Bundle([(row, [rows[0] | values]), *GOOD.visits[1:]], GOOD.queries)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (with_visit(gel_count=2), "gel_count is 2, but 1 in lesions.csv"),
        (with_visit(gel_count=None), "gel_count is None, but gel_evaluable is true"),
        (with_visit(gel_evaluable=False), "gel_evaluable is false and gel_reason is None"),
        (with_visit(gel_evaluable=False, gel_reason="artefact"), "is 1, but gel_evaluable is false"),
        (with_visit(**NO_GEL, gel_new_count=0), "gel_new_count is 0, but gel_evaluable is false"),
        (with_visit(gel_reason="because"), "gel_reason must be one of"),
        (with_visit(gel_reason="artefact;missing_scan"), "gel_reason holds several values"),
        (with_visit(gel_volume_mm3="-1.0"), "gel_volume_mm3 is -1.0, expected 0 or more"),
        (with_visit(gel_volume_mm3="nan"), "must be finite"),
        (with_visit(gel_volume_mm3="20"), "must be written as 20.0"),
        (with_visit(gel_count="1_0"), "must be written as 10"),
        (with_visit(gel_count="one"), "invalid literal"),
        (with_visit(gel_evaluable="yes"), "expected true or false"),
        (with_visit(config_sha256="beef"), "config_sha256 is 'beef'"),
        (with_visit(read_status=None), "read_status is empty"),
        (with_visit(qc_flags="blurred"), "qc_flags must be one of"),
        (with_visit(software_version="0.1\n0"), "must be one line"),
        (with_visit(software_version="x" * 1001), "more than 1000"),
        (with_visit(software_version="0.1\x1b[2J"), "characters that are not printed"),
        (with_visit(t2_interval_days=99_999_999_999), "expected less than 1e9"),
        (with_visit(site_id="S02"), "site_id is 'S02', expected 'S01'"),
        (with_lesion(session_id="ses-w99"), "the visit is not in visit_metrics.csv"),
        (with_lesion(participant_id="sub-../x"), "participant_id is 'sub-../x'"),
        (with_lesion(lesion_id=None), "lesion_id is empty, expected what names the row"),
        (with_lesion(gd_status="bright"), "gd_status must be one of"),
        (lambda: Bundle([*GOOD.visits, GOOD.visits[0]]), "stands there twice"),
        (lambda: Bundle(GOOD.visits, [query(1, "sub-001", 0, code="hello")]), "code must be one of"),
        (lambda: Bundle(GOOD.visits, [query(1, "sub-001", 0, query_id="1")]), "query_id is '1'"),
        (lambda: Bundle([visit("sub-101", 0)]), "sub-101: belongs to site S02"),
        (lambda: Bundle([visit("sub-999", 0)]), "sub-999: is not in the visit schedule"),
    ],
)  # fmt: skip
def test_value_that_is_not_allowed(
    trial: Trial, bundle: Path, make: Callable[[], Bundle], words: str
) -> None:
    make().write(bundle, trial.keys["S01"])
    refused(trial, bundle, words)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"USUBJID": "MESEMS-S02-101"}, "of no visit in this bundle"),
        ({"USUBJID": "MESEMS-S01-001", "NVSTAT": "NOT DONE", "NVORRES": "0"}, "NVSTAT is NOT DONE"),
    ],
)
def test_domain_of_another_participant_or_with_a_hidden_zero(
    trial: Trial, bundle: Path, row: dict[str, str], words: str
) -> None:
    columns = ["STUDYID", "USUBJID", "NVSTAT", "NVORRES"]
    right = GOOD.files() | {"nv.csv": table(columns, [{"USUBJID": "MESEMS-S01-001", "NVORRES": "0"}])}
    GOOD.write(bundle, trial.keys["S01"], GOOD.files() | {"nv.csv": table(columns, [row])})
    empty = trial.counts()
    decision = decide(trial, bundle)
    assert words in decision.receipt.reasons[0]
    assert trial.counts() == empty
    GOOD.write(bundle, trial.keys["S01"], right)
    assert decide(trial, bundle).accepted


def test_too_many_rows_are_not_read(trial: Trial, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MAX_ROWS", 1)
    assert decide(trial, bundle).http_status == 413
    monkeypatch.undo()
    assert decide(trial, bundle).http_status == 413  # the sender was told; it builds another one
    other = Bundle(GOOD.visits[:1], GOOD.queries)
    assert trial.send(other).accepted


@pytest.mark.parametrize("sent", [b"", b"\0" * 10_240, b"<html>" * 1000, b"PK\x03\x04" + b"x" * 600])
def test_what_is_no_archive(trial: Trial, sent: bytes) -> None:
    (trial.folder / "sent.tar").write_bytes(sent)
    with pytest.raises(RejectedError, match=r"does not begin with manifest\.json"):
        receive.receive(trial.store, trial.folder / "sent.tar", Source(by="tester"))
    assert sum(trial.counts().values()) == 0


def test_truncated_archive(trial: Trial, bundle: Path) -> None:
    whole = pack(bundle, trial.folder / "sent.tar").read_bytes()
    for length in (2000, len(whole) // 2, len(whole) - 10_000):
        (trial.folder / "cut.tar").write_bytes(whole[:length])
        decision = receive.receive(trial.store, trial.folder / "cut.tar", Source(by="tester"))
        assert not decision.accepted
    assert sum(trial.counts().values()) == 0
    assert decide(trial, bundle).accepted


def test_generated_bundles(trial: Trial, bundle: Path) -> None:
    # tests/system sends 10,000
    damage.check_refused(bundle, trial.keys["S01"], 400)
    assert decide(trial, bundle).accepted
