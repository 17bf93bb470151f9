"""Names, birth dates, addresses and numbers in the places where hospitals leave them.

The usual elements are filled at every site (`common.study_header`); here is what only some do.
"""

from collections.abc import Callable

import numpy as np
from pydicom import DataElement, Dataset

from mesems_mri.simulate.dicom.common import Study, coded, day_of, make_uid, private
from mesems_mri.simulate.dicom.encode import element
from mesems_mri.simulate.dicom.timeline import SimulatedSeries


def plant_identifiers(study: Study, acquisition: SimulatedSeries, header: Dataset) -> None:
    """Plant the identifiers that a site leaves in a series."""
    for plant_in in _BY_MANNER[study.conventions.manner]:
        plant_in(study, acquisition, header)


def image_comments(study: Study, acquisition: SimulatedSeries) -> list[DataElement]:
    """Return what the technologist wrote under one image alone, the third of a scan; empty for others."""
    if study.conventions.manner == "philips" or acquisition.contrast != "FLAIR" or acquisition.kind != "scan":
        return []
    person = study.person
    text = study.plant("ImageComments of one image", f"{person.spoken} *{person.born:%d.%m.%Y} unruhig")
    return [element(0x00204000, "LT", text)]


def preamble(study: Study, acquisition: SimulatedSeries) -> bytes:
    """Return the preamble of a file, at most 128 bytes."""
    if study.conventions.manner != "siemens" or acquisition.contrast != "T2w":
        return b""
    return study.plant("preamble", f"II*\0EXPORT {study.person.typed} {study.patient_id}").encode()[:128]


def tail(study: Study, acquisition: SimulatedSeries) -> bytes:
    """Return the padding behind the pixels."""
    if study.conventions.manner != "ge" or acquisition.contrast != "T2w":
        return b""
    text = study.plant("DataSetTrailingPadding", f"{study.person.typed}/{day_of(study.person.born)}").encode()
    return text + b"\0" * (len(text) % 2)


def meta(study: Study) -> tuple[DataElement, ...]:
    """Return further file meta information."""
    if study.conventions.manner == "philips":
        return ()
    ae_title = study.plant("(0002,0016) SourceApplicationEntityTitle", study.person.typed[:16])
    note = study.plant("(0002,0102) PrivateInformation", study.patient_id).encode()
    return (
        element(0x00020016, "AE", ae_title),
        element(0x00020100, "UI", make_uid("private information")),
        element(0x00020102, "OB", note + b"\0" * (len(note) % 2)),
    )


def study_words(study: Study, plain: str) -> str:
    """Return a study description, at most sites with the name in it."""
    return study.plant("StudyDescription", f"{plain}^{study.person.family}")


def _order(study: Study, acquisition: SimulatedSeries, header: Dataset) -> None:
    """Plant what comes from the information system of the hospital with the order."""
    person, staff, plant = study.person, study.staff, study.plant
    header.StudyDescription = study_words(study, "Head MS")
    born = person.born.strftime("%d.%m.%Y")
    step, protocol = Dataset(), coded("MRHEAD", "99LOCAL", "MR head")
    step.AccessionNumber = study.accession
    step.RequestedProcedureDescription = "MR head"
    step.ScheduledProcedureStepDescription = plant(
        "RequestAttributesSequence > ScheduledProcedureStepDescription", f"MR head {person.family}, {born}"
    )
    step.ScheduledProcedureStepID = study.exam
    step.RequestedProcedureID = plant("RequestAttributesSequence > RequestedProcedureID", study.accession)
    protocol.CodeMeaning = plant("RequestAttributesSequence > code meaning", f"MR {person.family}")
    step.ScheduledProtocolCodeSequence = [protocol]
    header.RequestAttributesSequence = [step]
    header.RequestingPhysician = plant("RequestingPhysician", staff.referring)
    header.PerformingPhysicianName = plant("PerformingPhysicianName", staff.performing)
    header.OperatorsName = plant("OperatorsName", staff.operator)
    header.PerformedProcedureStepDescription = plant(
        "PerformedProcedureStepDescription", f"MS follow-up {person.spoken}"
    )


def _ward(study: Study, acquisition: SimulatedSeries, header: Dataset) -> None:
    """Plant what the ward knows."""
    person, staff, plant = study.person, study.staff, study.plant
    header.PatientAddress = plant("PatientAddress", f"{person.street}, {person.city}")
    header.PatientTelephoneNumbers = plant("PatientTelephoneNumbers", person.phone)
    header.PatientMotherBirthName = plant("PatientMotherBirthName", person.maiden)
    header.OtherPatientNames = plant("OtherPatientNames", f"{person.maiden}^{person.given}")
    header.PatientSize = f"{person.height_m:g}"
    header.Occupation = "teacher"
    other = Dataset()
    other.PatientID = plant("OtherPatientIDsSequence", person.insurance)
    other.TypeOfPatientID = "TEXT"
    header.OtherPatientIDsSequence = [other]
    header.AdmissionID = plant("AdmissionID", study.accession)
    header.CurrentPatientLocation = plant("CurrentPatientLocation", f"{staff.institution} 3B")
    header.AdditionalPatientHistory = plant(
        "AdditionalPatientHistory", f"{person.spoken}, born {person.born:%Y-%m-%d}, MS since 2012"
    )
    header.PhysiciansOfRecord = plant("PhysiciansOfRecord", staff.reading)
    header.NameOfPhysiciansReadingStudy = plant("NameOfPhysiciansReadingStudy", staff.reading)


def _archive(study: Study, acquisition: SimulatedSeries, header: Dataset) -> None:
    """Plant what archives add: what they replaced, who handled it, private text in bytes."""
    person, plant = study.person, study.plant
    before, change = Dataset(), Dataset()
    before.PatientName = plant(
        "OriginalAttributesSequence > ModifiedAttributesSequence", f"{person.maiden}^{person.given}"
    )
    before.PatientID = person.insurance
    change.ModifiedAttributesSequence = [before]
    change.AttributeModificationDateTime = day_of(study.start) + "200000"
    change.ModifyingSystem, change.SourceOfPreviousValues = "PACS", ""
    change.ReasonForTheAttributeModification = "CORRECT"
    header.OriginalAttributesSequence = [change]
    handled = Dataset()
    handled.Manufacturer = "ARCHIVE"
    handled.InstitutionName = plant(
        "ContributingEquipmentSequence > InstitutionName", study.staff.institution
    )
    handled.OperatorsName = plant("ContributingEquipmentSequence > OperatorsName", study.staff.operator)
    handled.PurposeOfReferenceCodeSequence = [coded("109103", "DCM", "Modifying Equipment")]
    header.ContributingEquipmentSequence = [handled]
    private(
        header,
        0x0011,
        0x10,
        "ARCHIVE NOTES 1.0",
        {
            0x01: ("LO", plant("(0011,1001) private text of an archive", person.spoken)),
            0x02: ("UN", _padded(plant("(0011,1002) private bytes of an archive", person.typed).encode())),
            0x03: ("OB", plant("(0011,1003) private text in UTF-16", person.family).encode("utf-16-le")),
            0x04: ("DA", plant("(0011,1004) private date", day_of(person.born))),
        },
    )


def _comments(study: Study, acquisition: SimulatedSeries, header: Dataset) -> None:
    """Plant what somebody typed in a hurry."""
    person, plant = study.person, study.plant
    born = person.born.strftime("%d.%m.%Y")
    header.PatientComments = plant("PatientComments", f"Tel {person.phone}; {person.typed} {born}")
    header.CommentsOnThePerformedProcedureStep = plant(
        "CommentsOnThePerformedProcedureStep", f"{person.given} nervous, {study.staff.operator.split('^')[0]}"
    )
    header.add(element(0x00324000, "LT", plant("StudyComments", f"cc {study.staff.referring}")))
    header.RequestedProcedureComments = plant(
        "RequestedProcedureComments", f"{person.spoken}, {person.street}"
    )
    if acquisition.contrast == "FLAIR" and study.session_id.endswith("w12"):
        header.SeriesDescription = plant("SeriesDescription", f"{header.SeriesDescription} {person.typed}")


def _drawings(study: Study, acquisition: SimulatedSeries, header: Dataset) -> None:
    """Plant text in an overlay and in a curve of the localizer."""
    if acquisition.kind != "localizer":
        return
    rows, columns = acquisition.main.planes.pixels.shape[1:]
    bits = np.zeros((rows, columns), np.uint8)
    bits[4:9, 4:40] = 1
    text = study.person.spoken
    for tag, vr, value in (
        (0x60000010, "US", rows),
        (0x60000011, "US", columns),
        (0x60000022, "LO", study.plant("(6000,0022) OverlayDescription", text)),
        (0x60000040, "CS", "G"),
        (0x60000050, "SS", [1, 1]),
        (0x60000100, "US", 1),
        (0x60000102, "US", 0),
        (0x60001500, "LO", study.plant("(6000,1500) OverlayLabel", study.patient_id)),
        (0x60003000, "OW", np.packbits(bits, bitorder="little").tobytes()),
        (0x60004000, "LT", study.plant("(6000,4000) OverlayComments", f"{text} {day_of(study.person.born)}")),
        (0x50000005, "US", 2),
        (0x50000010, "US", 2),
        (0x50000020, "CS", "POLY"),
        (0x50000022, "LO", study.plant("(5000,0022) CurveDescription", text)),
        (0x50000103, "US", 0),
        (0x50002500, "LO", study.plant("(5000,2500) CurveLabel", study.person.typed)),
        (0x50003000, "OW", bytes(8)),
    ):
        header.add(element(tag, vr, value))


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (len(content) % 2)


_Planter = Callable[[Study, SimulatedSeries, Dataset], None]
_BY_MANNER: dict[str, tuple[_Planter, ...]] = {
    "siemens": (_order, _comments, _drawings),
    "siemens_xa": (_order, _archive),
    "philips": (_ward, _archive),
    "ge": (_order, _ward, _comments),
}
