"""What the converter writes of an image names nobody, and still says how it was acquired."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mesems_mri.errors import InputError
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.deidentify.sidecar import clean_sidecar, write_nifti
from tests.identifier_search import Planted, search, search_text
from tests.unit.intake.planting import KEY, NAME, OFFSET, PERSON, mr_header, mr_image, plant, save

ACQUISITION = {
    "Modality": "MR",
    "MagneticFieldStrength": 3,
    "ImagingFrequency": 123.254871,
    "Manufacturer": "Siemens",
    "ManufacturersModelName": "Prisma",
    "SoftwareVersions": "syngo MR E11",
    "PatientPosition": "HFS",
    "SeriesDescription": "t1_se_tra post Gd",
    "ProtocolName": "t1_se_tra",
    "ScanningSequence": "SE\\IR",
    "SequenceVariant": "SK\\SP\\MP\\OSP",
    "ScanOptions": "EDR_GEMS\\FILTERED_GEMS",
    "SequenceName": "*tfl3d1_16ns",
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
    "PulseSequenceType": "Spoiled Gradient Echo",
    "SeriesNumber": 5,
    "AcquisitionTime": "10:15:30.250000",
    "SliceThickness": 3,
    "SpacingBetweenSlices": 3.3,
    "EchoTime": 0.0125,
    "RepetitionTime": 0.5,
    "FlipAngle": 90,
    "NonlinearGradientCorrection": True,
    "SliceTiming": [0, 0.5, 0.25],
    "ReceiveCoilName": "HeadNeck_64",
    "ContrastBolusIngredient": "GADOLINIUM",
    "PhaseEncodingDirection": "j-",
    "ConversionSoftware": "dcm2niix",
    "ConversionSoftwareVersion": "v1.0.20260724",
}


def deidentifier() -> Deidentifier:
    return Deidentifier(KEY, "sub-014", OFFSET)


def test_acquisition_stays() -> None:
    assert clean_sidecar(ACQUISITION, deidentifier()) == ACQUISITION
    assert list(clean_sidecar(ACQUISITION, deidentifier())) == list(ACQUISITION)


def test_serial_numbers_become_marks() -> None:
    left = clean_sidecar({"DeviceSerialNumber": "67060", "StationName": "MRC35131"}, deidentifier())
    assert left["DeviceSerialNumber"] == deidentifier().serial("67060") != "67060"


@pytest.mark.parametrize(
    "content",
    [
        {"InstitutionName": "x", "InstitutionAddress": "y", "StudyDescription": "z", "ImageComments": "w"},
        {"AnythingNew": "x", "ShimSetting": [1, 2], "WipMemBlock": "x", "BidsGuess": ["anat", "x"]},
        {"EchoTime": "0.5", "SliceThickness": 19610412, "SliceTiming": [0, "x"], "SAR": float("nan")},
        {"AcquisitionTime": "Zwiebelhuber", "ConversionSoftware": "other", "Modality": {"a": 1}},
        {
            "MRAcquisitionType": "ZWIEBELHUBER",
            "SeriesDescription": "Zwiebelhuber",
            "ImageType": ["ZWIEBELHUBER"],
        },
    ],
)
def test_all_else_goes(content: dict) -> None:
    assert clean_sidecar(content, deidentifier()) == {}


@pytest.mark.parametrize("planted", PERSON, ids=lambda planted: planted.text)
def test_no_key_keeps_a_planted_string(planted: Planted) -> None:
    content = {key: f"t1 {planted.text} post" for key in [*ACQUISITION, "PatientName", "AccessionNumber"]}
    listed = {key: [planted.text, {planted.text: planted.text}] for key in ACQUISITION}
    named = {planted.text: "1", **{f"{planted.text}{key}": 1 for key in ACQUISITION}}
    for one in (content, listed, named):
        assert search_text(json.dumps(one), [planted])
        assert not search_text(json.dumps(clean_sidecar(one, deidentifier())), [planted])


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [True, False])
def test_header_of_an_image_keeps_no_text(tmp_path: Path, kind: type, order: str, packed: bool) -> None:
    values = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    header = kind.header_class(endianness=order)
    header["descrip"], header["aux_file"] = NAME, NAME
    header["intent_name"] = NAME[:15]
    if kind is nib.Nifti1Image:
        header["db_name"], header["data_type"] = NAME[:17], NAME[:9]
    image = kind(values, np.diag([1.0, 2, 3, 1]), header)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", NAME.encode()))
    source = tmp_path / f"{NAME}.nii"
    nib.save(image, source)
    with source.open("ab") as file:
        file.write(NAME.encode())
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / ("image.nii.gz" if packed else "image.nii")
    assert search(source, PERSON)
    write_nifti(source, target)
    assert not search(tmp_path / "out", PERSON)
    left = nib.load(target)
    assert np.array_equal(np.asanyarray(left.dataobj), values)
    assert np.array_equal(left.affine, image.affine)
    assert left.header.endianness == order
    assert not left.header.extensions
    for field in {"descrip", "aux_file", "intent_name", "db_name", "data_type"} & set(left.header):
        assert left.header[field].item() == b"", field
    content = gzip.decompress(target.read_bytes()) if packed else target.read_bytes()
    size = left.header.single_vox_offset - 4
    assert content[size : size + 4] == bytes(4)
    assert len(content) == size + 4 + values.size * int(left.header["bitpix"]) // 8
    assert [path.name for path in (tmp_path / "out").iterdir()] == [target.name]
    first = target.read_bytes()
    write_nifti(target, target)
    assert target.read_bytes() == first
    if packed:
        assert first[3] == 0  # neither a name nor a comment
        assert first[4:8] == bytes(4)  # no time


@pytest.mark.parametrize("content", [b"", b"no image", bytes(400), gzip.compress(bytes(400), mtime=0)[:-9]])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / f"{NAME}.nii.gz"
    source.write_bytes(content)
    with pytest.raises(InputError) as caught:
        write_nifti(source, tmp_path / "out.nii.gz")
    assert not search_text(str(caught.value), PERSON)
    assert not (tmp_path / "out.nii.gz").exists()


def test_cut_image_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "in.nii")
    (tmp_path / "cut.nii").write_bytes((tmp_path / "in.nii").read_bytes()[:-2])
    with pytest.raises(InputError):
        write_nifti(tmp_path / "cut.nii", tmp_path / "out.nii")


def test_converted_series_names_nobody(tmp_path: Path) -> None:
    # the converter writes comments, names and descriptions into the header, the sidecar and the file name
    (tmp_path / "in").mkdir()
    (tmp_path / "raw").mkdir()
    (tmp_path / "out").mkdir()
    for number in (1, 2, 3):
        image = mr_image(number)
        image.SeriesDescription = f"t1_{NAME}_tra"
        image.ImageComments, image.StudyDescription = NAME, PERSON[4].text
        plant(image, 0x00080080, "LO", PERSON[2].text)
        plant(image, 0x00181030, "LO", PERSON[3].text)
        save(image, tmp_path / "in" / f"{number}.dcm")
    converter = Path(sys.executable).with_name("dcm2niix")
    options = ["-b", "y", "-ba", "n", "-z", "n", "-c", NAME, "-f", "%n_%g_%d", "-o", tmp_path / "raw"]
    subprocess.run([converter, *options, tmp_path / "in"], check=True, capture_output=True)
    found = {hit.planted for hit in search(tmp_path / "raw", PERSON)}
    assert found == {planted.text for planted in PERSON}
    work = deidentifier()
    work.learn(mr_header())
    (image_path,) = (tmp_path / "raw").glob("*.nii")
    sidecar = clean_sidecar(json.loads(image_path.with_suffix(".json").read_text()), work)
    (tmp_path / "out" / "sub-014_T1w.json").write_text(json.dumps(sidecar))
    write_nifti(image_path, tmp_path / "out" / "sub-014_T1w.nii.gz")
    assert not search(tmp_path / "out", PERSON)
    assert sidecar["SeriesDescription"] == "t1_tra"
    assert sidecar["EchoTime"] == 0.0125
