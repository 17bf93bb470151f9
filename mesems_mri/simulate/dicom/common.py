"""The part of a header that no vendor writes differently: patient, study, series, image, bolus."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import DataElement, Dataset
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from mesems_mri.simulate.dicom.conventions import SiteConventions
from mesems_mri.simulate.dicom.encode import decimal, decimals, element
from mesems_mri.simulate.dicom.geometry import Planes
from mesems_mri.simulate.dicom.manifest import PlantLog
from mesems_mri.simulate.dicom.people import Person, Staff
from mesems_mri.simulate.dicom.timeline import SimulatedScan, SimulatedSeries

GRAMS_PER_MOL = {
    "Dotarem": 558.6,
    "Clariscan": 558.6,
    "Gadovist": 604.7,
    "Magnevist": 938.0,
    "Prohance": 558.7,
}


@dataclass(frozen=True, eq=False)
class Study:
    """The examination at a visit, as the hospital knows it.

    Parameters
    ----------
    key : str
        Source of its UIDs; the same key gives the same UIDs.
    site_id, participant_id, session_id : str
    person : Person
    staff : Staff
    conventions : SiteConventions
    model, field_t : str, float
        Scanner.
    software : str
        Of the scanner on that day.
    patient_id : str
        As the site files the patient with the scans.
    accession, exam : str
        Accession number and number of the examination.
    start : datetime
    plant_log : PlantLog
        Where plants are written down.
    """

    key: str
    site_id: str
    participant_id: str
    session_id: str
    person: Person
    staff: Staff
    conventions: SiteConventions
    model: str
    field_t: float
    software: str
    patient_id: str
    accession: str
    exam: str
    start: dt.datetime
    plant_log: PlantLog

    def uid(self, *parts: object) -> str:
        """Return a UID of this study, below the root that anybody may use (2.25)."""
        return make_uid(self.key, *parts)

    def series_uid(self, acquisition: SimulatedSeries) -> str:
        """Return the UID of a series."""
        return self.uid("series", acquisition.number)

    def plant(self, place: str, text: str) -> str:
        """Note what is planted, and return it."""
        return self.plant_log.plant(place, text)


def make_uid(*parts: object) -> str:
    """Derive a UID from anything; equal parts give equal UIDs."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=16).digest()
    return f"2.25.{int.from_bytes(digest, 'big')}"


def day_of(moment: dt.datetime | dt.date) -> str:
    """Write a DICOM date."""
    return moment.strftime("%Y%m%d")


def clock_of(moment: dt.datetime, digits: int = 6) -> str:
    """Write a DICOM time."""
    return moment.strftime("%H%M%S") + (f".{moment.microsecond:06d}"[: digits + 1] if digits else "")


def private(
    dataset: Dataset, group: int, block: int, creator: str, items: dict[int, tuple[str, object]]
) -> None:
    """Add a block of private elements.

    Parameters
    ----------
    dataset : Dataset
    group, block : int
        Odd group; block number, 0x10 or higher.
    creator : str
        Whose they are.
    items : dict
        Last two digits of the element -> VR and value.
    """
    dataset.add(element((group << 16) | block, "LO", creator))
    for number, (vr, value) in items.items():
        dataset.add(element((group << 16) | (block << 8) | number, vr, value))


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    """Return a coded entry."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def study_header(study: Study) -> Dataset:
    """Return what all objects of a study share: who, where, when."""
    person, staff, plant = study.person, study.staff, study.plant
    header = Dataset()
    header.SpecificCharacterSet = study.conventions.country.charset
    header.StudyDate, header.StudyTime = day_of(study.start), clock_of(study.start, 3)
    header.AccessionNumber = plant("AccessionNumber", study.accession)
    header.Modality = "MR"
    header.InstitutionName = plant("InstitutionName", staff.institution)
    header.InstitutionAddress = plant("InstitutionAddress", f"{staff.street},{person.city.split(' ', 1)[1]}")
    header.ReferringPhysicianName = plant("ReferringPhysicianName", staff.referring)
    header.StationName = study.conventions.station
    header.InstitutionalDepartmentName = staff.department
    header.ManufacturerModelName = study.model
    header.PatientName = plant("PatientName", person.dicom_name)
    header.PatientID = plant("PatientID", study.patient_id)
    header.PatientBirthDate = plant("PatientBirthDate", day_of(person.born))
    header.PatientSex = person.sex
    header.PatientAge = f"{person.age(study.start.date()):03d}Y"
    header.PatientWeight = decimal(person.weight_kg)
    header.DeviceSerialNumber = study.conventions.serial
    header.SoftwareVersions = study.software.split("\\")
    header.StudyInstanceUID = study.uid("study")
    header.StudyID = study.exam
    return header


def series_header(study: Study, acquisition: SimulatedSeries) -> Dataset:
    """Return what all images of a series share."""
    header = study_header(study)
    start = acquisition.start
    header.SOPClassUID = MRImageStorage
    header.SeriesDate = header.AcquisitionDate = header.ContentDate = day_of(start)
    header.SeriesTime = clock_of(start + dt.timedelta(seconds=acquisition.seconds), 3)
    header.AcquisitionTime = header.ContentTime = clock_of(start, 3)
    header.SeriesDescription = acquisition.description
    header.BodyPartExamined = "BRAIN"
    header.ProtocolName = acquisition.description.removesuffix(" RPT")
    header.PatientPosition = "HFS"
    header.SeriesInstanceUID = study.series_uid(acquisition)
    header.SeriesNumber = acquisition.number
    header.AcquisitionNumber = 1
    header.FrameOfReferenceUID = study.uid("frame of reference")
    header.PositionReferenceIndicator = ""
    header.Laterality = ""
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    return header


def localizer_references(
    study: Study, acquisition: SimulatedSeries, *, multi_frame: bool = False
) -> list[Dataset]:
    """Refer to one image of each orientation of the localizer, on which the slices were planned."""
    number = 101 if study.conventions.manner == "philips" else 1
    references = []
    for middle in (2, 5, 8):
        item = Dataset()
        item.ReferencedSOPClassUID = EnhancedMRImageStorage if multi_frame else MRImageStorage
        item.ReferencedSOPInstanceUID = study.uid("instance", number, 1 if multi_frame else middle)
        if multi_frame:
            item.ReferencedFrameNumber = middle
        references.append(item)
    return [] if acquisition.kind == "localizer" else references


def sequence_tags(study: Study, acquisition: SimulatedSeries) -> Dataset:
    """Return how a classic image was scanned, apart from what each vendor calls its own."""
    scan = acquisition.main
    planes = scan.planes
    tags = Dataset()
    tags.MRAcquisitionType = "3D" if acquisition.three_d else "2D"
    tags.AngioFlag = "N"
    tags.SliceThickness = decimal(planes.thickness_mm)
    tags.RepetitionTime = decimal(scan.repetition_ms)
    if scan.inversion_ms:
        tags.InversionTime = decimal(scan.inversion_ms)
    tags.NumberOfAverages = "1"
    tags.ImagingFrequency = decimal(imaging_frequency(study))
    tags.ImagedNucleus = "1H"
    tags.MagneticFieldStrength = decimal(study.field_t)
    tags.SpacingBetweenSlices = decimal(planes.spacing_mm)
    tags.NumberOfPhaseEncodingSteps = planes.pixels.shape[2]
    tags.PercentSampling = "100"
    tags.PercentPhaseFieldOfView = "100"
    tags.PixelBandwidth = decimal(bandwidth(acquisition))
    tags.AcquisitionMatrix = [0, planes.pixels.shape[1], planes.pixels.shape[2], 0]
    tags.InPlanePhaseEncodingDirection = "ROW"
    tags.FlipAngle = decimal(scan.flip_deg)
    tags.VariableFlipAngleFlag = "N"
    return tags


def imaging_frequency(study: Study) -> float:
    """Return the frequency of the protons, MHz."""
    return (
        42.577 * study.field_t * 0.9652
        if study.conventions.manner.startswith("siemens")
        else 42.577 * study.field_t
    )


def bandwidth(acquisition: SimulatedSeries) -> float:
    """Return a bandwidth per pixel, Hz."""
    table = {"T1w": 200.0, "T2w": 190.0, "PDw": 190.0, "FLAIR": 150.0}
    return table.get(acquisition.contrast, 320.0) * (1.2 if acquisition.three_d else 1.0)


def bolus_tags(study: Study, acquisition: SimulatedSeries) -> Dataset:
    """Return the tags of the contrast agent, at a site that fills them in and after the injection."""
    tags, bolus = Dataset(), acquisition.bolus
    if bolus is None or study.conventions.cue != "tags":
        return tags
    end = bolus.moment + dt.timedelta(seconds=20)
    tags.ContrastBolusAgent = study.conventions.agent
    tags.ContrastBolusRoute = "IV"
    tags.ContrastBolusVolume = decimal(bolus.volume_ml)
    tags.ContrastBolusStartTime, tags.ContrastBolusStopTime = clock_of(bolus.moment, 0), clock_of(end, 0)
    tags.ContrastBolusTotalDose = decimal(bolus.volume_ml)
    tags.ContrastFlowRate = "2"
    tags.ContrastBolusIngredient = "GADOLINIUM"
    tags.ContrastBolusIngredientConcentration = decimal(
        study.conventions.agent_mmol_ml * GRAMS_PER_MOL[study.conventions.agent]
    )
    return tags


def image_tags(planes: Planes, largest: int, *, signed: bool = False) -> Dataset:
    """Return the matrix of a classic image: size, spacing, orientation, bits.

    Parameters
    ----------
    planes : Planes
    largest : int
        Largest stored value.
    signed : bool
        Whether stored values can be negative.
    """
    tags = Dataset()
    tags.ImageOrientationPatient = decimals((*planes.across, *planes.down))
    tags.Rows, tags.Columns = planes.pixels.shape[-2:]
    tags.PixelSpacing = decimals(planes.pixel_mm)
    tags.BitsAllocated = 16
    stored = 16 if signed or largest > 4095 else 12
    tags.BitsStored, tags.HighBit, tags.PixelRepresentation = stored, stored - 1, int(signed)
    tags.WindowCenter, tags.WindowWidth = str(max(1, largest // 4)), str(max(1, largest // 2))
    return tags


def slice_elements(
    study: Study, acquisition: SimulatedSeries, scan: SimulatedScan, index: int, instance: int
) -> Iterator[DataElement]:
    """Yield what is of one slice alone."""
    planes = scan.planes
    yield element(0x00080018, "UI", study.uid("instance", acquisition.number, instance))
    yield element(0x00200013, "IS", str(instance))
    yield element(0x00200032, "DS", decimals(planes.position(index)))
    yield element(0x00201041, "DS", decimal(planes.location(index)))
    if acquisition.kind == "localizer":  # the only series whose slices lie in several directions
        yield element(0x00200037, "DS", decimals((*planes.across, *planes.down)))
