"""Bundles hold what the tables hold, never a zero that is none, and nothing that must not travel."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyreadstat
import pytest

from mesems_mri.dataset.columns import EVALUATED, VISIT_METRICS_COLUMNS
from mesems_mri.dataset.queries import COLUMNS as QUERY_NAMES
from mesems_mri.dataset.queries import add_queries, answer_query, new_query
from mesems_mri.dataset.query_answers import Answer, AnswerKind
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.errors import BundleError, DatasetError, ForbiddenColumnError, UsageError
from mesems_mri.transfer.columns import QUERY_COLUMNS, TABLE_COLUMNS
from mesems_mri.transfer.manifest import DOMAINS, FILES, MANIFEST, TransferReceipt
from mesems_mri.transfer.outbox import BundleState, Outbox
from mesems_mri.transfer.sdtm_columns import DOMAIN_VARIABLES, NV_TESTS
from mesems_mri.transfer.verify import manifest_sha256, read_manifest, verify_bundle
from tests.small_study import SmallStudy, missing_visit, small_study

ROOT = Path(__file__).parents[3]


def rows_of(bundle: Path, name: str) -> list[dict[str, str]]:
    with (bundle / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def reject(study: SmallStudy, sequence: int | None = None) -> None:
    outbox = Outbox(study.layout, "S01")
    for bundle in outbox.bundles(BundleState.PENDING, BundleState.SENT):
        if sequence not in (None, bundle.manifest.sequence):
            continue
        receipt = {
            "manifest_sha256": bundle.sha256,
            "status": "rejected",
            "reasons": ["the week is none of the trial"],
            "received_at": "2026-03-31T12:00:00Z",
            "sequence": bundle.manifest.sequence,
        }
        outbox.settle(bundle, TransferReceipt.model_validate_json(json.dumps(receipt)))


# ---- what is in it


def test_bundle_holds_exactly_its_files_and_is_valid(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    (bundle,) = study.build()
    assert sorted(p.name for p in bundle.iterdir()) == sorted((*FILES, MANIFEST, "manifest.json.sig"))
    manifest = verify_bundle(bundle, study.public_key)
    assert (manifest.study_id, manifest.site_id, manifest.sequence) == ("MESEMS", "S01", 1)
    assert manifest.visits == {"done": 4, "not_evaluable": 0, "failed": 0, "waiting": 0}
    assert manifest.read_status == {"automatic": 4, "read": 0, "adjudicated": 0, "locked": 0}
    networks = {"anatomy.onnx", "gel.onnx", "t2.onnx"}
    assert set(manifest.model_versions) == {*networks, "tissue_atlas.nii.gz"}


@pytest.mark.parametrize("name", ["visit_metrics", "participant_endpoints"])
def test_csv_has_columns_order_and_values_of_the_tsv(tmp_path: Path, name: str) -> None:
    study = small_study(tmp_path)
    (bundle,) = study.build()
    table = (study.out_dir / f"{name}.tsv").read_text(encoding="utf-8")
    lines = [line.split("\t") for line in table.splitlines()]
    with (bundle / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        assert list(csv.reader(stream)) == lines
    assert len(lines) > 1


def test_lesions_are_the_ledgers_of_all_participants(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    (bundle,) = study.build()
    ledgers = [
        p.read_text(encoding="utf-8").splitlines() for p in sorted(study.out_dir.glob("sub-*/*_lesions.tsv"))
    ]
    lines = [ledgers[0][0], *(line for ledger in ledgers for line in ledger[1:])]
    assert (bundle / "lesions.csv").read_text(encoding="utf-8") == "\n".join(lines).replace("\t", ",") + "\n"


def test_queries_are_those_of_the_site(tmp_path: Path) -> None:
    study = small_study(tmp_path, sites=2)
    odd = 'FLAIR, "30 of 32"'
    first = new_query(QueryCode.MISSING_SLICES, words=odd, participant_id="sub-001", session_id="ses-w04")
    other = new_query(QueryCode.MISSING_SLICES, participant_id="sub-002", session_id="ses-w04", site_id="S01")
    nobody = new_query(QueryCode.UNKNOWN_PARTICIPANT, site_id="S01")
    added = add_queries(study.bids_dir, [first, other, nobody])
    not_acquired = Answer(AnswerKind.NOT_ACQUIRED)
    answer_query(study.bids_dir, added[0].query_id, not_acquired, by="A. Reader", reason="sent again")
    one, two = study.build()
    assert [(r["query_id"], r["site_id"], r["status"]) for r in rows_of(one, "queries.csv")] == [
        ("Q0001", "S01", "closed"),
        ("Q0003", "S01", "open"),
    ]
    assert rows_of(one, "queries.csv")[0]["what"].endswith(odd)
    # it was asked of S01, but is about a participant of S02: the row travels with the participant
    assert [(r["query_id"], r["site_id"]) for r in rows_of(two, "queries.csv")] == [("Q0002", "S02")]
    assert QUERY_NAMES[: len(QUERY_COLUMNS)] == tuple(QUERY_COLUMNS)
    # these stay at the centre
    stay = ("role", "detail", "series_id", "answer", "answered", "answered_by", "visits")
    assert QUERY_NAMES[len(QUERY_COLUMNS) :] == stay


def test_rows_of_a_bundle_are_of_one_site(tmp_path: Path) -> None:
    study = small_study(tmp_path, participants=4, sites=2)
    bundles = study.build()
    assert [read_manifest(bundle).site_id for bundle in bundles] == ["S01", "S02"]
    for bundle, site in zip(bundles, ("S01", "S02"), strict=True):
        for name in ("visit_metrics.csv", "lesions.csv", "participant_endpoints.csv"):
            assert {row["site_id"] for row in rows_of(bundle, name)} == {site}
        assert {row["USUBJID"].split("-")[1] for row in rows_of(bundle, "nv.csv")} == {site}


def test_what_is_not_evaluable_is_not_done_with_its_reason_and_never_zero(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path)
    study.add("sub-001", "ses-w00")
    study.add("sub-001", "ses-w04", **missing_visit())
    study.add("sub-001", "ses-w12", gel_count=0, gel_volume_mm3=0.0, gel_persistent_count=0)
    study.finish()
    (bundle,) = study.build()
    results = {(r["NVLNKID"], r["NVTESTCD"]): r for r in rows_of(bundle, "nv.csv")}
    assert len(results) == 3 * len(NV_TESTS)
    for result in NV_TESTS:
        gap = results["ses-w04", result.code]
        assert (gap["NVSTAT"], gap["NVREASND"]) == ("NOT DONE", "missing_scan")
        assert not any(gap[name] for name in ("NVORRES", "NVSTRESC", "NVSTRESN", "NVEVALID", "NVLOBXFL"))
    zero = results["ses-w12", "GELCNT"]
    assert (zero["NVORRES"], zero["NVSTRESN"], zero["NVSTAT"]) == ("0", "0", "")
    first = results["ses-w00", "T2NEW"]
    assert (first["NVSTAT"], first["NVREASND"], first["NVORRES"]) == ("NOT DONE", "no_reference_visit", "")
    # of the counts that need an earlier visit, gel_new_count is empty although enhancement is evaluable
    assert results["ses-w00", "GELNEW"]["NVREASND"] == "no_reference_visit"
    scans = rows_of(bundle, "pr.csv")
    assert [(r["PROCCUR"], r["PRREASND"]) for r in scans] == [("Y", ""), ("N", "missing_scan"), ("Y", "")]
    assert [r["AGSTAT"] for r in rows_of(bundle, "ag.csv")] == ["", "NOT DONE", ""]


def test_a_scan_that_waits_for_an_answer_was_made(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path)
    study.add("sub-001", "ses-w00", **missing_visit("open_query"))
    study.add("sub-001", "ses-w04", **missing_visit())
    study.finish()
    (bundle,) = study.build()
    scans = rows_of(bundle, "pr.csv")
    assert [(r["PROCCUR"], r["PRREASND"]) for r in scans] == [("Y", ""), ("N", "missing_scan")]
    gaps = {r["NVREASND"] for r in rows_of(bundle, "nv.csv") if r["NVLNKID"] == "ses-w00"}
    assert gaps == {"open_query"}


def test_every_result_of_a_visit_is_in_nv_once(tmp_path: Path) -> None:
    columns = [result.column for result in NV_TESTS]
    assert sorted(columns) == sorted(name for names in EVALUATED.values() for name in names)
    results = {n for n in VISIT_METRICS_COLUMNS if n.endswith(("_count", "_mm3"))}
    assert results == set(columns)
    assert all(result.column in EVALUATED[result.part] for result in NV_TESTS)


def test_visits_agent_scanner_and_steroids_are_those_of_the_tables(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path)
    study.add("sub-001", "ses-w00", day_from_baseline=0)
    study.add("sub-001", "ses-u01", visit_type="unscheduled", week=None, day_from_baseline=20)
    study.add("sub-001", "ses-w04", day_from_baseline=28, read_status="adjudicated")
    study.finish()
    head = ("session_id", "acq_time", "contrast_dose_mmol_kg", "steroid_within_30d")
    values = [
        ("ses-w00", "1870-02-03", "0.1", "false"),
        ("ses-u01", "1870-02-23", "0", "n/a"),
        ("ses-w04", "1870-03-03", "n/a", "true"),
    ]
    study.sessions("sub-001", [dict(zip(head, row, strict=True)) for row in values])
    (bundle,) = study.build()
    counts = [r for r in rows_of(bundle, "nv.csv") if r["NVTESTCD"] == "GELCNT"]
    assert [(r["VISITNUM"], r["VISIT"], r["NVDTC"], r["NVDY"]) for r in counts] == [
        ("0", "WEEK 0", "1870-02-03", "1"),
        ("0.01", "UNSCHEDULED U01", "1870-02-23", "21"),
        ("4", "WEEK 4", "1870-03-03", "29"),
    ]
    assert [r["NVLOBXFL"] for r in counts] == ["Y", "", ""]
    assert [r["NVEVAL"] for r in counts] == ["", "", "INDEPENDENT ASSESSOR"]
    assert counts[2]["NVEVALID"] == "ADJUDICATED"
    agents = rows_of(bundle, "ag.csv")
    # a scan after contrast shows that it was given, whatever dose is stated
    assert [(r["AGOCCUR"], r["AGDOSE"]) for r in agents] == [("Y", "0.1"), ("Y", ""), ("Y", "")]
    flags = rows_of(bundle, "suppag.csv")
    assert [(r["IDVARVAL"], r["QNAM"], r["QVAL"]) for r in flags] == [
        ("1", "STER30D", "N"),
        ("3", "STER30D", "Y"),
    ]
    device = {r["DIPARMCD"]: r["DIVAL"] for r in rows_of(bundle, "di.csv")}
    assert device == {
        "DEVTYPE": "MRI SCANNER",
        "MANUF": "Siemens",
        "MODEL": "Prisma",
        "FLDSTRN": "3.0",
        "SWVER": "VE11C",
    }
    scanners = {r["SPDEVID"] for r in rows_of(bundle, "di.csv")}
    assert {r["SPDEVID"] for r in rows_of(bundle, "pr.csv")} == scanners
    assert len(scanners) == 1


@pytest.mark.parametrize("domain", DOMAINS)
def test_xpt_is_read_back_by_pandas_and_pyreadstat(tmp_path: Path, domain: str) -> None:
    study = small_study(tmp_path, participants=3)
    study.sessions("sub-001", [{"session_id": "ses-w00", "steroid_within_30d": "true"}])
    (bundle,) = study.build()
    path, variables = bundle / f"{domain}.xpt", DOMAIN_VARIABLES[domain]
    by_pandas = pd.read_sas(path, format="xport", encoding="ascii")
    by_readstat, meta = pyreadstat.read_xport(str(path))
    assert (meta.table_name, meta.column_labels) == (domain.upper(), [v.label for v in variables.values()])
    expected = rows_of(bundle, f"{domain}.csv")
    assert expected
    for frame in (by_pandas, by_readstat):
        assert list(frame.columns) == list(variables)
        assert len(frame) == len(expected)
        for row, wanted in zip(frame.to_dict("records"), expected, strict=True):
            assert {name: text_of(value) for name, value in row.items()} == wanted


def text_of(value: Any) -> str:
    if value is None or pd.isna(value):
        return ""
    if isinstance(value, float) and abs(value) < 1e-70:  # pandas reads the 0 of IBM floating point as 5.4e-79
        value = 0.0
    return (str(int(value)) if value.is_integer() else str(value)) if isinstance(value, float) else value


def test_a_domain_without_rows_is_an_empty_data_set(tmp_path: Path) -> None:
    (bundle,) = small_study(tmp_path).build()
    frame, _ = pyreadstat.read_xport(str(bundle / "suppag.xpt"))
    assert rows_of(bundle, "suppag.csv") == []
    assert (len(frame), list(frame.columns)) == (0, list(DOMAIN_VARIABLES["suppag"]))


def test_names_and_labels_fit_sas_transport_version_5() -> None:
    for variables in DOMAIN_VARIABLES.values():
        for name, variable in variables.items():
            assert len(name) <= 8
            assert name.isupper()
            assert len(variable.label) <= 40
            assert variable.length <= 200
    assert all(len(result.code) <= 8 and len(result.name) <= 40 for result in NV_TESTS)


def test_dictionary_explains_every_column_of_every_file(tmp_path: Path) -> None:
    (bundle,) = small_study(tmp_path).build()
    explained = {
        (row["file"], row["column"]): row["description"] for row in rows_of(bundle, "dictionary.csv")
    }
    manifest = read_manifest(bundle)
    columns = {(e.name, column) for e in manifest.files if e.name != "dictionary.csv" for column in e.columns}
    assert set(explained) == columns
    assert all(explained.values())
    assert set(TABLE_COLUMNS) < {entry.name for entry in manifest.files}


def test_site_that_is_refused_stops_no_other(tmp_path: Path) -> None:
    study = small_study(tmp_path, participants=4, sites=2)
    detail = "sent as MUELLER^HANS"
    add_queries(study.bids_dir, [new_query(QueryCode.NAME_DIFFERS, words=detail, participant_id="sub-001")])
    with pytest.raises(BundleError, match="a person's name as DICOM writes it"):
        study.build()
    assert [len(Outbox(study.layout, site).bundles()) for site in ("S01", "S02")] == [0, 1]


# ---- again and again


def test_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    (one,) = small_study(tmp_path / "a").build()
    (two,) = small_study(tmp_path / "b").build()
    for name in FILES:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_nothing_new_builds_nothing_and_says_so(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    study.build()
    assert study.build() == []
    assert "S01: nothing new since S01_000001" in study.said[-1]
    assert len(Outbox(study.layout, "S01").bundles()) == 1


def test_next_bundle_follows_the_one_before_and_keeps_its_rows(tmp_path: Path) -> None:
    study = small_study(tmp_path, participants=1)
    (first,) = study.build()
    study.add("sub-001", "ses-w12")
    study.finish()
    (second,) = study.build()
    manifest = read_manifest(second)
    assert (manifest.sequence, manifest.previous_sha256) == (2, manifest_sha256(first))
    for name in ("visit_metrics.csv", "lesions.csv", "nv.csv", "pr.csv", "ag.csv"):
        before, after = (path.joinpath(name).read_text(encoding="utf-8") for path in (first, second))
        assert after.startswith(before)
        assert len(after) > len(before)


def test_number_of_a_rejected_bundle_is_given_again(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    (first,) = study.build()
    sha256 = manifest_sha256(first)
    reject(study)
    (again,) = study.build()
    manifest = read_manifest(again)
    assert (manifest.sequence, manifest.previous_sha256) == (1, None)
    states = [(b.state, b.sha256 == sha256) for b in Outbox(study.layout, "S01").bundles()]
    assert (BundleState.REJECTED, True) in states


def test_bundle_on_a_rejected_one_is_no_part_of_the_chain(tmp_path: Path) -> None:
    study = small_study(tmp_path, participants=1)
    study.build()
    study.add("sub-001", "ses-w12")
    study.finish()
    (second,) = study.build()
    outbox = Outbox(study.layout, "S01")
    for bundle in outbox.bundles():
        outbox.mark_sent(bundle, "inbox", "2026-03-31T12:00:00+00:00")
    reject(study, sequence=1)
    (third,) = study.build()
    assert (read_manifest(third).sequence, read_manifest(third).previous_sha256) == (1, None)
    study.add("sub-001", "ses-w24")
    study.finish()
    (fourth,) = study.build()
    assert (read_manifest(fourth).sequence, read_manifest(fourth).previous_sha256) == (
        2,
        manifest_sha256(third),
    )
    # a second bundle of the same number, while the receipt for the other one is still to come
    for bundle in outbox.bundles(BundleState.PENDING):
        outbox.mark_sent(bundle, "inbox", "2026-03-31T12:00:00+00:00")
    assert [b.manifest.sequence for b in outbox.bundles(BundleState.SENT)] == [1, 2, 2]
    assert second.name in [b.folder.name for b in outbox.bundles(BundleState.SENT)]


def test_damaged_outbox_is_told(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    (bundle,) = study.build()
    (bundle / MANIFEST).unlink()
    with pytest.raises(BundleError, match=r"a bundle has no manifest\.json"):
        study.build()


# ---- what must not travel


@pytest.mark.parametrize("name", ["participants.tsv", "sub-001/sub-001_sessions.tsv", "phenotype/notes.csv"])
@pytest.mark.parametrize(("column", "refused"), [("Treatment Arm", True), ("EDSS", True), ("sex", False)])
def test_forbidden_column_is_refused(tmp_path: Path, name: str, column: str, refused: bool) -> None:
    study = small_study(tmp_path)
    path = study.bids_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = "," if name.endswith("csv") else "\t"
    path.write_text(f"participant_id{mark}session_id{mark}{column}\nsub-001{mark}ses-w00{mark}x\n")
    if refused:
        with pytest.raises(ForbiddenColumnError, match=path.name):
            study.build()
        assert not list(study.layout.transfer.rglob("*.csv"))
    else:
        assert study.build()


def test_result_of_what_is_not_evaluable_is_refused(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path)
    study.add("sub-001", "ses-w00", gel_evaluable=False, gel_reason="missing_scan", gel_count=0)
    study.finish()
    with pytest.raises(BundleError, match="sub-001/ses-w00 is not evaluable but has the gel_count 0"):
        study.build()


def test_gap_without_a_reason_is_refused(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path)
    study.add("sub-001", "ses-w00", brain_evaluable=False, brain_volume_mm3=None)
    study.finish()
    with pytest.raises(BundleError, match="neither brain results nor a brain_reason"):
        study.build()


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("\twarn\t", "\tfine\t", BundleError),
        ("\tautomatic\t", "\tperhaps\t", BundleError),
        ("\ttrue\t", "\tyes\t", DatasetError),
        ("\tgel_count\t", "\tgel\t", DatasetError),
    ],
)
def test_table_that_breaks_its_schema_is_refused(
    tmp_path: Path, old: str, new: str, error: type[Exception]
) -> None:
    study = small_study(tmp_path)
    path = study.out_dir / "visit_metrics.tsv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(error, match=r"visit_metrics\.tsv"):
        study.build()


def test_participant_needs_one_site(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path)
    study.add("sub-001", "ses-w00", site="")
    study.finish()
    with pytest.raises(BundleError, match="sub-001: has no site"):
        study.build()
    study.add("sub-001", "ses-w04", site="S02")
    study.add("sub-001", "ses-w00", site="S01")
    study.finish()
    with pytest.raises(BundleError, match="sub-001: is of the sites"):
        study.build()


def test_study_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, study_id="MESEMS / II")
    study.add("sub-001", "ses-w00")
    study.finish()
    with pytest.raises(BundleError, match="study_id 'MESEMS / II' cannot travel"):
        study.build()


def test_private_key_in_the_output_folder_is_refused(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    study.key = study.key.rename(study.out_dir / "key")
    with pytest.raises(UsageError, match="lies in the output folder"):
        study.build()


def test_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    study.key.chmod(0o640)
    with pytest.raises(UsageError, match="others can open the key"):
        study.build()
    study.key.chmod(0o600)
    assert study.build()


def test_text_too_long_for_sas_is_refused_and_other_letters_are_marked(tmp_path: Path) -> None:
    from mesems_mri.transfer.xpt import xpt_bytes

    with pytest.raises(BundleError, match="DIVAL has 121 characters"):
        xpt_bytes("di", [{"DIVAL": "x" * 121}])
    frame = pd.read_sas(io.BytesIO(xpt_bytes("di", [{"DIVAL": "Müller"}])), format="xport", encoding="ascii")
    assert frame["DIVAL"][0] == "M?ller"
