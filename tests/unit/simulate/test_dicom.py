"""The simulated trial as DICOM: it converts back to the same images, and everything planted is in it."""

import datetime as dt
import io
import os
import subprocess
from collections import defaultdict
from pathlib import Path

import dcm2niix
import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.files import read_json
from mesems_mri.simulate.dicom.manifest import PlantManifest, SeriesTruth
from tests.unit.simulate.tiny_trial import WEEKS, Files


def of_same_visit(manifest: PlantManifest, series: SeriesTruth, role: str) -> SeriesTruth:
    """The scan of another role at the visit of a series."""
    visit = series.participant_id, series.session_id
    return next(s for s in manifest.series if s.role == role and (s.participant_id, s.session_id) == visit)


class TestImages:
    """dcm2niix gives the images of the simulation back."""

    @pytest.fixture(scope="class")
    def converted(
        self,
        files: Files,
        headers: dict[str, Dataset],
        manifest: PlantManifest,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> tuple[dict[tuple[str, int], nib.Nifti1Image], dict[str, str]]:
        source, out = tmp_path_factory.mktemp("dicom"), tmp_path_factory.mktemp("nifti")
        wanted = {series.series_uid for series in manifest.series if series.kind != "screen"}
        wanted -= {series.series_uid for series in manifest.series if series.role == "localizer"}
        broken = {series.series_uid for series in manifest.series if series.slices < series.announced}
        for number, (name, header) in enumerate(headers.items()):
            uid = str(header.SeriesInstanceUID)
            if uid not in wanted:
                continue
            path = source / ("broken" if uid in broken else "whole") / f"{number}.dcm"
            path.parent.mkdir(exist_ok=True)
            content = files[name]
            if header.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
                whole = pydicom.dcmread(io.BytesIO(content))
                whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
                whole.save_as(path)
            else:
                path.write_bytes(content)
        said = {}
        for folder in sorted(source.iterdir()):
            command = [dcm2niix.bin, "-b", "y", "-z", "n", "-f", "%j_%e", "-o", str(out), str(folder)]
            run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NO_ET": "1"})
            assert run.returncode == 0, run.stdout
            said[folder.name] = run.stdout + run.stderr
        images = {}
        for path in out.glob("*.nii"):
            uid, echo = path.stem.rsplit("_", 1)
            image = nib.load(path)
            assert isinstance(image, nib.Nifti1Image)
            images[uid, max(1, int(echo))] = image  # enhanced objects number no echo
        return images, said

    def test_conversion_has_nothing_to_complain_about(self, converted, manifest: PlantManifest) -> None:
        _, said = converted
        complaints = ("warning", "error", "missing")
        assert not any(word in said["whole"].lower() for word in complaints), said["whole"]
        assert "missing" in said["broken"]

    def test_every_scan_comes_back_as_it_was(self, converted, tiny: Path, manifest: PlantManifest) -> None:
        images, _ = converted
        compared = 0
        for series in manifest.series:
            if series.kind != "scan" or series.slices < series.announced:
                continue
            echoes = [s for s in manifest.series if s.series_uid == series.series_uid]
            image = nib.as_closest_canonical(images[series.series_uid, echoes.index(series) + 1])
            simulated = nib.as_closest_canonical(nib.load(tiny / series.image))
            np.testing.assert_allclose(image.affine, simulated.affine, atol=1e-3)
            # Philips rounds to steps of its scale slope, 4000 for the largest value.
            atol = 0 if series.site_id not in ("S02", "S05") else 0.5 * 1200 / 4000 + 1e-3
            np.testing.assert_allclose(image.get_fdata(), np.asanyarray(simulated.dataobj), atol=atol)
            compared += 1
        assert compared == 6 * len(WEEKS) * 4 - 2  # less the truncated and the missing scan

    def test_shadow_headers_of_siemens_are_understood(self, converted, manifest: PlantManifest) -> None:
        images, _ = converted
        series = next(s for s in manifest.series if s.site_id == "S01" and s.role == POSTCONTRAST)
        image = images[series.series_uid, 1]
        sidecar = read_json(Path(image.file_map["image"].filename).with_suffix(".json"))
        assert sidecar["PulseSequenceDetails"] == "%SiemensSeq%\\tfl"
        assert sidecar["ReceiveCoilName"] == "HeadNeck_20"
        assert sidecar["ParallelReductionFactorInPlane"] == 2

    def test_reformatted_slices_lie_where_the_scan_lay(
        self, converted, tiny: Path, manifest: PlantManifest
    ) -> None:
        images, _ = converted
        derived = [series for series in manifest.series if series.kind == "mpr"]
        assert {series.site_id for series in derived} == {"S01", "S02", "S04"}
        for series in derived:
            scan = of_same_visit(manifest, series, POSTCONTRAST)
            image, source = images[series.series_uid, 1], nib.load(tiny / scan.image)
            voxels = np.argwhere(np.ones(image.shape, bool))[::97]
            there = nib.affines.apply_affine(np.linalg.inv(source.affine) @ image.affine, voxels)
            assert np.abs(there - np.rint(there)).max() < 1e-3
            values = np.asanyarray(source.dataobj)[tuple(np.rint(there).astype(int).T)]
            np.testing.assert_allclose(image.get_fdata()[tuple(voxels.T)], values, atol=0.2)

    def test_difference_of_the_scans_before_and_after(
        self, converted, tiny: Path, manifest: PlantManifest
    ) -> None:
        images, _ = converted
        derived = [series for series in manifest.series if series.kind == "subtraction"]
        assert {series.site_id for series in derived} == {"S01", "S03"}
        for series in derived:
            anat = tiny / series.participant_id / series.session_id / "anat"
            stem = f"{series.participant_id}_{series.session_id}"
            after, before = (nib.load(anat / f"{stem}_{c}.nii.gz") for c in (POSTCONTRAST, "T1w"))
            difference = np.asanyarray(after.dataobj) - np.asanyarray(before.dataobj)
            simulated = nib.as_closest_canonical(nib.Nifti1Image(difference, after.affine))
            image = nib.as_closest_canonical(images[series.series_uid, 1])
            np.testing.assert_array_equal(image.get_fdata(), np.asanyarray(simulated.dataobj))
            assert difference.min() < 0


class TestHeaders:
    def test_uids_are_valid_and_unique(self, headers: dict[str, Dataset]) -> None:
        uids = [str(header.SOPInstanceUID) for header in headers.values()]
        assert len(set(uids)) == len(uids)
        for header in headers.values():
            assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
            for tag in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
                assert UID(header[tag].value).is_valid

    def test_a_visit_is_one_study_in_one_frame_of_reference(self, by_series, manifest: PlantManifest) -> None:
        studies = defaultdict(set)
        for series in manifest.series:
            if series.kind != "screen":
                header = by_series[series.series_uid][0]
                key = series.participant_id, series.session_id
                studies[key].add(
                    (str(header.StudyInstanceUID), str(header.FrameOfReferenceUID), header.StudyDate)
                )
        assert len(studies) == 6 * len(WEEKS)
        assert all(len(found) == 1 for found in studies.values())
        assert len(set.union(*studies.values())) == len(studies)

    def test_manifest_lists_every_series_of_images(self, by_series, manifest: PlantManifest) -> None:
        others = {uid for uid, found in by_series.items() if found[0].Modality == "PR"}
        assert set(by_series) - others == {series.series_uid for series in manifest.series}
        for series in manifest.series:
            found = by_series[series.series_uid]
            sent = sum(int(header.get("NumberOfFrames", 1)) for header in found)
            echoes = [s for s in manifest.series if s.series_uid == series.series_uid]
            assert sent == sum(echo.slices for echo in echoes)
            assert found[0].file_meta.TransferSyntaxUID == series.syntax
            assert found[0].SeriesDescription == series.description

    def test_all_vendors_and_syntaxes_are_there(self, by_series, manifest: PlantManifest) -> None:
        kinds = {
            (by_series[s.series_uid][0].Manufacturer, by_series[s.series_uid][0].SOPClassUID.name)
            for s in manifest.series
            if s.kind == "scan"
        }
        assert kinds == {
            ("SIEMENS", "MR Image Storage"),
            ("Siemens Healthineers", "Enhanced MR Image Storage"),
            ("GE MEDICAL SYSTEMS", "MR Image Storage"),
            ("Philips Medical Systems", "MR Image Storage"),
            ("Philips Medical Systems", "Enhanced MR Image Storage"),
        }
        syntaxes = {UID(series.syntax).name for series in manifest.series if series.kind == "scan"}
        assert syntaxes == {
            "Explicit VR Little Endian",
            "Implicit VR Little Endian",
            "Deflated Explicit VR Little Endian",
            "RLE Lossless",
        }

    def test_contrast_is_given_between_the_two_scans(
        self, by_series, tiny: Path, manifest: PlantManifest
    ) -> None:
        checked = 0
        for series in manifest.series:
            if series.role != POSTCONTRAST or series.cue != "tags":
                continue
            header = by_series[series.series_uid][0]
            before = of_same_visit(manifest, series, "T1w")
            agent = header
            if "ContrastBolusAgentSequence" in header:
                agent = header.ContrastBolusAgentSequence[0].ContrastAdministrationProfileSequence[0]
            injected = agent.ContrastBolusStartTime[:6]
            assert started(by_series[before.series_uid]) < injected < started(by_series[series.series_uid])
            sidecar = read_json(tiny / series.image.replace(".nii.gz", ".json"))
            delay = clock(started(by_series[series.series_uid])) - clock(injected)
            assert delay.total_seconds() / 60 == pytest.approx(sidecar["ContrastDelayMinutes"], abs=0.04)
            checked += 1
        assert checked == 3 * len(WEEKS)

    def test_scans_after_contrast_are_told_as_each_site_tells_them(
        self, by_series, manifest: PlantManifest
    ) -> None:
        cues = defaultdict(set)
        for series in manifest.series:
            if series.role not in ("T1w", POSTCONTRAST) or series.kind != "scan":
                continue
            header = by_series[series.series_uid][0]
            tagged = bool(header.get("ContrastBolusAgent")) or "ContrastBolusAgentSequence" in header
            cues[series.site_id].add((series.role, tagged, series.description))
        assert cues["S01"] == {
            ("T1w", False, "t1_mprage_sag_p2_iso"),
            (POSTCONTRAST, True, "t1_mprage_sag_p2_iso"),
        }
        assert cues["S02"] == {("T1w", False, "sT1W_SE"), (POSTCONTRAST, False, "sT1W_SE_GADO")}
        assert cues["S03"] == {("T1w", False, "Ax T1 SE"), (POSTCONTRAST, False, "Ax T1 SE")}

    def test_scans_follow_each_other(self, by_series, manifest: PlantManifest) -> None:
        visits = defaultdict(list)
        for series in manifest.series:
            if series.kind != "screen":
                visits[series.participant_id, series.session_id].append(series)
        for found in visits.values():
            numbers = [int(by_series[s.series_uid][0].SeriesNumber) for s in found]
            times = [started(by_series[s.series_uid]) for s in found]
            order = np.lexsort((numbers,))
            assert [times[k] for k in order] == sorted(times)
            assert next(s.role for s in found) == "localizer"

    def test_interrupted_series_announces_more_than_it_has(self, by_series, manifest: PlantManifest) -> None:
        (series,) = [s for s in manifest.series if s.kind == "scan" and s.slices < s.announced]
        header = by_series[series.series_uid][0]
        assert (series.site_id, series.session_id) == ("S02", "ses-w08")
        assert header[0x2001, 0x1018].value == series.announced
        assert len(by_series[series.series_uid]) == series.slices > 0

    def test_two_echoes_are_one_series(self, by_series, manifest: PlantManifest) -> None:
        echoes = [
            s
            for s in manifest.series
            if s.role in ("PDw", "T2w") and s.session_id == "ses-w08" and s.site_id == "S01"
        ]
        assert [s.role for s in echoes] == ["PDw", "T2w"]
        assert len({s.series_uid for s in echoes}) == 1
        found = sorted(by_series[echoes[0].series_uid], key=lambda h: int(h.InstanceNumber))
        assert [int(h.EchoNumbers) for h in found[:4]] == [1, 2, 1, 2]
        assert [float(h.EchoTime) for h in found[:2]] == [s.echo_ms for s in echoes]

    def test_references_to_the_localizer_lead_somewhere(self, headers: dict[str, Dataset]) -> None:
        known = {str(header.SOPInstanceUID) for header in headers.values()}
        references = [
            str(item.ReferencedSOPInstanceUID)
            for header in headers.values()
            for item in header.get("ReferencedImageSequence", [])
        ]
        assert references
        assert set(references) <= known


def started(found: list[Dataset]) -> str:
    def begin(header: Dataset) -> str:
        return str(header.get("AcquisitionDateTime", "")[8:] or header.AcquisitionTime)[:6]

    return min(map(begin, found))


def clock(text: str) -> dt.datetime:
    return dt.datetime.strptime(text, "%H%M%S")
