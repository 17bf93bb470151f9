"""Record of a defacing in the header of a series."""

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence as Items

from mesems_mri.intake.deidentify.defacing import DefacingRecord, read_defacing
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from tests.unit.intake.scans import header, pixels


def coded(code: str, scheme: str, version: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodingSchemeVersion = code, scheme, version
    item.CodeMeaning = meaning
    return item


def refaced() -> dict[str, object]:
    """Return what mri_reface writes, as its author describes it."""
    return {
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "mri_reface 0.3.3",
        "DeidentificationMethodCodeSequence": Items(
            [
                coded("113102", "DCM", "01", "Clean Recognizable Visual Features Option"),
                coded(
                    "replace_recognizable", "mri_reface", "0.3.3", "Replace face, ears, and artifacts in air"
                ),
            ]
        ),
    }


@pytest.mark.parametrize(
    ("tags", "record"),
    [
        (refaced(), DefacingRecord("mri_reface", "0.3.3")),
        (refaced() | {"DeidentificationMethod": None}, DefacingRecord("mri_reface", "0.3.3")),
        ({"DeidentificationMethod": ["PS3.15 Basic", "mri_reface_0.2"]}, DefacingRecord("mri_reface", "0.2")),
        ({"DeidentificationMethod": "MRI_Reface v0.3.1.2"}, DefacingRecord("mri_reface", "0.3.1.2")),
        ({"ImageComments": "pydeface 2.0.2"}, DefacingRecord("pydeface", "2.0.2")),
        ({"ImageComments": "@afni_refacer_run -mode_all"}, DefacingRecord("afni_refacer")),
        ({"DerivationDescription": "quickshear"}, DefacingRecord("quickshear")),
        ({"DerivationDescription": "FaceMasking of head"}, DefacingRecord("mask_face")),
        ({"DeidentificationMethod": "mri_deface v1.22"}, DefacingRecord("mri_deface", "1.22")),
        ({"SeriesDescription": "t1_mprage_deFaced"}, DefacingRecord()),
        ({"SeriesDescription": "T1 refaced"}, DefacingRecord()),
        ({"RecognizableVisualFeatures": "NO"}, DefacingRecord()),
        (
            {"DeidentificationMethodCodeSequence": Items([coded("113102", "DCM", "", "anything")])},
            DefacingRecord(),
        ),
        ({}, None),
        ({"DeidentificationMethod": "CTP Default"}, None),
        ({"DeidentificationMethodCodeSequence": Items([coded("113100", "DCM", "", "Basic")])}, None),
        ({"SeriesDescription": "t1 surface coil"}, None),
        ({"SeriesDescription": "t1 interface"}, None),
        ({"SeriesDescription": "t1_not_defaced"}, None),
        ({"ImageComments": "not yet defaced"}, None),
        ({"ImageComments": "non-defaced original"}, None),
        ({"SeriesDescription": "T1 undefaced"}, None),
        (refaced() | {"RecognizableVisualFeatures": "YES"}, None),
    ],
)
def test_record_of_a_defacing(tags: dict[str, object], record: DefacingRecord | None) -> None:
    assert read_defacing(header(**tags)) == record


def test_no_text_of_the_header_is_told() -> None:
    record = read_defacing(header(DeidentificationMethod="pydeface by Nora Nobody 29021980"))
    assert record == DefacingRecord("pydeface")
    assert record.as_sidecar() == {
        "Defaced": True,
        "DefacedBy": "pydeface",
        "RecognizableVisualFeatures": "NO",
        "DeidentificationMethod": ["pydeface"],
        "DeidentificationMethodCodeSequence": [
            {
                "CodeValue": "113102",
                "CodingSchemeDesignator": "DCM",
                "CodeMeaning": "Clean Recognizable Visual Features Option",
            }
        ],
    }


def test_a_copy_as_dicom_retains_the_record() -> None:
    dataset = header(**refaced())
    dataset.PixelData = pixels(16, 20, 1)
    cleaned = Deidentifier(b"key", "sub-001", -60_000).dataset(dataset)
    assert cleaned.RecognizableVisualFeatures == "NO"
    assert cleaned.DeidentificationMethod[-1] == "mri_reface 0.3.3"
    assert [item.CodeValue for item in cleaned.DeidentificationMethodCodeSequence][-1] == "113102"
    assert read_defacing(cleaned) == DefacingRecord("mri_reface", "0.3.3")
    plain = header()
    plain.PixelData = pixels(16, 20, 1)
    cleaned = Deidentifier(b"key", "sub-001", -60_000).dataset(plain)
    assert "RecognizableVisualFeatures" not in cleaned
    assert read_defacing(cleaned) is None
