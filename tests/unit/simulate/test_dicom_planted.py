"""What is planted in the simulated DICOM, how it is packed, and that it is the same every time."""

import datetime as dt
import hashlib
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders import RLELosslessDecoder
from pydicom.uid import RLELossless
from typer.testing import CliRunner

from mesems_mri.cli.main import app
from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.dataset.input_tables import read_tsv
from mesems_mri.dataset.schedule import SHEET_COLUMNS
from mesems_mri.errors import UsageError
from mesems_mri.simulate.dicom.encode import pack_bits
from mesems_mri.simulate.dicom.manifest import PlantManifest, manifest_path, read_manifest
from mesems_mri.simulate.dicom.trial import write_dicom
from tests.unit.simulate.tiny_trial import WEEKS, Files, inside, make_tiny_trial


class TestPlanted:
    def test_every_needle_is_found(self, dicom: Path, files: Files, manifest: PlantManifest) -> None:
        haystack = "\n".join(path.relative_to(dicom).as_posix() for path in dicom.rglob("*")).encode()
        haystack += b"\n".join(name.encode() + b"\n" + inside(content) for name, content in files.items())
        lost = [n for n in manifest.needles if not any(text in haystack for text in spelled(n.text))]
        assert not lost
        kinds = {needle.kind for needle in manifest.needles}
        assert kinds == {
            "name",
            "birth_date",
            "address",
            "phone",
            "patient_id",
            "accession",
            "physician",
            "institution",
            "visit_date",
        }

    def test_needles_are_too_rare_to_be_found_by_chance(self, manifest: PlantManifest, tiny: Path) -> None:
        assert all(len(needle.text) >= 6 for needle in manifest.needles)
        content = b"\n".join(
            inside_gzip(path)
            for path in tiny.rglob("*")
            if path.is_file() and not path.name.endswith("sessions.tsv")
        )
        assert not [n for n in manifest.needles if any(text in content for text in spelled(n.text))]

    def test_everybody_has_a_name_and_a_birth_date_to_look_for(self, manifest: PlantManifest) -> None:
        for number in range(1, 7):
            mine = {n.kind for n in manifest.needles if n.participant_id == f"sub-{number:02d}"}
            assert {"name", "birth_date", "accession", "patient_id"} <= mine
        families = {p.text.split("^")[0] for p in manifest.places if p.place == "PatientName"}
        assert len(families) == 6

    def test_odd_places(self, manifest: PlantManifest) -> None:
        places = {place.place for place in manifest.places}
        odd = {
            "preamble",
            "comment of a zip",
            "name of a file",
            "name of a folder",
            "PatientComments",
            "ImageComments of one image",
            "RequestAttributesSequence > ScheduledProcedureStepDescription",
            "(6000,4000) OverlayComments",
            "(5000,2500) CurveLabel",
            "(0029,1020) protocol in the CSA series header",
            "(0025,101B) GE protocol block, compressed",
            "(2005,1402) nested in a Philips sequence",
            "(0011,1003) private text in UTF-16",
            "(0002,0102) PrivateInformation",
            "burnt into the pixels of a secondary capture",
            "GraphicAnnotationSequence > TextObjectSequence",
            "OriginalAttributesSequence > ModifiedAttributesSequence",
            "DataSetTrailingPadding",
            "DICOMDIR",
            "SeriesDescription",
        }
        assert odd <= places

    def test_comment_stands_in_one_image_alone(
        self, headers: dict[str, Dataset], manifest: PlantManifest
    ) -> None:
        series = next(s for s in manifest.series if s.role == "FLAIR" and s.site_id == "S01")
        commented = [
            int(h.InstanceNumber)
            for h in headers.values()
            if h.SeriesInstanceUID == series.series_uid and h.get("ImageComments")
        ]
        assert commented == [3]

    def test_manifest_lies_outside_of_the_dicom(self, dicom: Path, files: Files) -> None:
        assert manifest_path(dicom).parent == dicom.parent
        assert not any("planted" in name for name in files)


def spelled(text: str) -> set[bytes]:
    codes = ("utf-8", "latin-1", "iso8859-2", "utf-16-le")
    return {text.encode(code, "ignore") for code in codes if text.encode(code, "ignore")}


def inside_gzip(path: Path) -> bytes:
    content = path.read_bytes()
    return zlib.decompressobj(31).decompress(content) if path.suffix == ".gz" else content


class TestSubmissions:
    def test_sheet_plans_every_visit(
        self, dicom: Path, tiny: Path, by_series, manifest: PlantManifest
    ) -> None:
        rows = read_tsv(dicom / "sheet.tsv")
        assert tuple(rows[0]) == SHEET_COLUMNS
        assert len(rows) == 6 * len(WEEKS)
        for row in rows:
            mine = [
                by_series[s.series_uid][0]
                for s in manifest.series
                if (s.participant_id, s.session_id) == (row["participant_id"], row["session_id"])
            ]
            assert {header.PatientID for header in mine} == {row["dicom_patient_id"]}
            assert {header.PatientSex for header in mine} == {row["sex"]}
            day = dt.datetime.strptime(mine[0].StudyDate, "%Y%m%d").date()
            off = (day - dt.date.fromisoformat(row["planned_date"])).days
            assert -int(row["window_minus_days"]) <= off <= int(row["window_plus_days"])
            given = any(
                s.role == POSTCONTRAST
                for s in manifest.series
                if s.participant_id == row["participant_id"] and s.session_id == row["session_id"]
            )
            assert (row["contrast_dose_mmol_kg"] != "") == given

    def test_folders_discs_and_zips(self, dicom: Path, manifest: PlantManifest) -> None:
        submissions = {series.submission for series in manifest.series}
        assert len(submissions) == 6 * len(WEEKS)
        assert all((dicom / name).exists() for name in submissions)
        assert sum(name.endswith(".zip") for name in submissions) == len(WEEKS)

    def test_directory_of_a_disc_lists_its_files(self, dicom: Path) -> None:
        for path in sorted(dicom.glob("S02/*/DICOMDIR")):
            directory = pydicom.dcmread(path)
            records = {item.seq_item_tell: item for item in directory.DirectoryRecordSequence}
            at = directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity
            listed = {"/".join(names) for names in reachable(records, at)}
            assert listed == {p.relative_to(path.parent).as_posix() for p in path.parent.glob("DICOM/*")}

    def test_one_zip_holds_zips(self, files: Files) -> None:
        assert any(name.count(".zip!") == 2 for name in files)


def reachable(records: dict[int, Dataset], at: int) -> Iterator[list[str]]:
    """Names of the files that the offsets of a directory lead to."""
    while at:
        record = records[at]
        if "ReferencedFileID" in record:
            yield list(record.ReferencedFileID)
        yield from reachable(records, record.OffsetOfReferencedLowerLevelDirectoryEntity)
        at = record.OffsetOfTheNextDirectoryRecord


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class TestRepetition:
    @pytest.fixture(scope="class")
    def fewer(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return make_tiny_trial(tmp_path_factory.mktemp("fewer") / "bids", participants=3)

    def test_same_seed_same_bytes_and_a_further_participant_leaves_the_others(
        self, fewer: Path, dicom: Path, manifest: PlantManifest, tmp_path: Path
    ) -> None:
        # in another process, where sets have another order
        program = (
            "import sys; from pathlib import Path; from mesems_mri.simulate.dicom.trial import write_dicom; "
            "write_dicom(Path(sys.argv[1]), Path(sys.argv[2]), seed=5)"
        )
        again = tmp_path / "dicom"
        environment = os.environ | {"PYTHONHASHSEED": "77"}
        subprocess.run([sys.executable, "-c", program, fewer, again], check=True, env=environment)
        mine, all_of_them = digests(again), digests(dicom)
        del mine["sheet.tsv"]
        assert mine == {name: all_of_them[name] for name in all_of_them if name[:3] in ("S01", "S02", "S03")}
        assert read_manifest(again).series == tuple(s for s in manifest.series if s.site_id < "S04")

    def test_other_seed_other_people(self, fewer: Path, manifest: PlantManifest, tmp_path: Path) -> None:
        other = write_dicom(fewer, tmp_path / "dicom", seed=6)
        assert not {s.series_uid for s in other.series} & {s.series_uid for s in manifest.series}
        numbers = [
            {n.text for n in m.needles if n.kind in ("birth_date", "phone", "accession")}
            for m in (other, manifest)
        ]
        assert numbers[0]
        assert not numbers[0] & numbers[1]


class TestCommand:
    def test_folder_with_something_in_it_is_refused(self, tiny: Path, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").touch()
        with pytest.raises(UsageError, match="not empty"):
            write_dicom(tiny, tmp_path / "a")
        with pytest.raises(UsageError, match="no DICOM belongs"):
            write_dicom(tiny, tiny / "dicom")

    def test_simulate_writes_dicom_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # small images stand in for the heads, which take long
        monkeypatch.setattr(
            "mesems_mri.simulate.trial.simulate_trial",
            lambda bids_dir, **_: make_tiny_trial(bids_dir, 1) and [],
        )
        out = tmp_path / "dicom"
        run = CliRunner().invoke(
            app, ["simulate", str(tmp_path / "bids"), "--dicom", str(out), "--seed", "5"]
        )
        assert run.exit_code == 0, run.output
        assert "sheet.tsv" in run.output
        assert {series.site_id for series in read_manifest(out).series} == {"S01"}


# what noise packs to can be as long by chance
@pytest.mark.filterwarnings("ignore:The number of bytes of compressed pixel data matches")
@settings(max_examples=60)
@given(
    arrays(
        np.uint16,
        st.tuples(st.integers(1, 6), st.integers(1, 300)),
        elements=st.sampled_from([0, 1, 255, 256, 4000, 65535]),
    )
)
def test_packed_frame_is_unpacked_as_it_was(frame: np.ndarray) -> None:
    back, _ = RLELosslessDecoder.as_array(
        encapsulate([pack_bits(frame)]),
        rows=frame.shape[0],
        columns=frame.shape[1],
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=16,
        bits_stored=16,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        transfer_syntax_uid=RLELossless,
    )
    np.testing.assert_array_equal(back, frame)
