"""The submission of one visit: all series with what is planted in them, and what a site sends beside them."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from pydicom import Dataset

from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.simulate.dicom import enhanced, extras, ge, media, philips, plants, siemens
from mesems_mri.simulate.dicom.common import Study
from mesems_mri.simulate.dicom.encode import SYNTAXES, Envelope, write_object, write_series
from mesems_mri.simulate.dicom.manifest import SeriesTruth
from mesems_mri.simulate.dicom.media import SubmissionFiles
from mesems_mri.simulate.dicom.timeline import SimulatedExamination, SimulatedScan, SimulatedSeries

_ENHANCED_FROM_WEEK = 12
_NESTED_VISIT = 3
_READING, _SCREEN = 9001, 99
"""Numbers of the series that are no scans."""
_ENCODINGS = {"ISO_IR 100": "latin-1", "ISO_IR 101": "iso8859-2", "ISO_IR 192": "utf-8"}
_IMPLEMENTATIONS = {
    "siemens": siemens.IMPLEMENTATION,
    "siemens_xa": siemens.IMPLEMENTATION,
    "philips": philips.IMPLEMENTATION,
    "ge": ge.IMPLEMENTATION,
}


def write_submission(
    dicom_dir: Path, study: Study, exam: SimulatedExamination, *, index: int, week: int
) -> Iterator[SeriesTruth]:
    """Write the submission of a visit.

    Parameters
    ----------
    dicom_dir : Path
    study : Study
    exam : SimulatedExamination
    index, week : int
        Of the visit, which decide about compression, enhanced objects and nested zips.

    Yields
    ------
    SeriesTruth
        What a series is, one for each echo.
    """
    vendor = _vendor(study, week)
    nested = study.conventions.export == "zip" and index == _NESTED_VISIT
    submission = media.open_submission(dicom_dir, study, nested=nested)
    files: list[tuple[str, Dataset]] = []
    count = 0
    for acquisition in exam.series:
        syntax = _syntax(study, acquisition, vendor, index)
        header = vendor.header(study, acquisition)
        plants.plant_identifiers(study, acquisition, header)
        envelope = Envelope(
            syntax,
            *_IMPLEMENTATIONS[study.conventions.manner],
            preamble=plants.preamble(study, acquisition),
            meta=plants.meta(study),
            tail=plants.tail(study, acquisition),
        )
        comments = plants.image_comments(study, acquisition)
        instances = (
            ([*own, *comments] if number == 2 else own, pixels)
            for number, (own, pixels) in enumerate(vendor.instances(study, acquisition))
        )
        for number, content in enumerate(write_series(header, instances, envelope), 1):
            count += 1
            name = media.file_name(study, acquisition, number, count)
            submission.add(name, content)
            if study.conventions.export == "cd":
                files.append((name, _listed(study, acquisition, header, number, syntax)))
        for scan in acquisition.scans if acquisition.kind != "localizer" else acquisition.scans[:1]:
            yield _truth(study, acquisition, scan, header, submission.name, SYNTAXES[syntax])
    last = exam.series[-1]
    end = last.start + dt.timedelta(seconds=last.seconds + 60)
    if study.conventions.export == "cd":
        _add_disc_files(submission, study, end, files)
    elif index == 0:
        yield _add_screen(submission, study, end, count + 1)
    submission.close()


def _add_disc_files(
    submission: SubmissionFiles, study: Study, moment: dt.datetime, files: list[tuple[str, Dataset]]
) -> None:
    """Add what a disc from the archive has: a text, how somebody read the images, and the directory."""
    encoding = _ENCODINGS[study.conventions.country.charset]
    submission.add("README.TXT", extras.disc_label(study).encode(encoding))
    image = files[-1][1]
    uids = (image.SOPClassUID, image.SOPInstanceUID, image.SeriesInstanceUID)
    state = extras.presentation_state(study, moment, _READING, uids)
    submission.add("DICOM/PS_0001", write_object(state, _plain(study)))
    listed = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality"):
        setattr(listed, keyword, state[keyword].value)
    listed.SeriesNumber, listed.InstanceNumber = _READING, 1
    listed.TransferSyntaxUID = SYNTAXES["explicit"]
    submission.add("DICOMDIR", extras.directory(study, [*files, ("DICOM/PS_0001", listed)]))


def _add_screen(submission: SubmissionFiles, study: Study, moment: dt.datetime, count: int) -> SeriesTruth:
    """Add a picture of the screen."""
    picture = extras.screen_capture(study, moment, _SCREEN)
    description = picture.SeriesDescription
    stands_for = SimulatedSeries("screen", (), False, description, _SCREEN, moment)
    name = media.file_name(study, stands_for, 1, count)
    submission.add(name, write_object(picture, _plain(study)))
    return SeriesTruth(
        site_id=study.site_id,
        participant_id=study.participant_id,
        session_id=study.session_id,
        submission=submission.name,
        series_uid=picture.SeriesInstanceUID,
        description=description,
        role="derived",
        kind="screen",
        chosen=False,
        image="",
        echo_ms=0.0,
        slices=1,
        announced=1,
        syntax=SYNTAXES["explicit"],
    )


def _plain(study: Study) -> Envelope:
    return Envelope("explicit", *_IMPLEMENTATIONS[study.conventions.manner])


def _vendor(study: Study, week: int) -> ModuleType:
    """Choose how the headers are written: one Philips site exports enhanced objects from some week on."""
    match study.conventions.manner:
        case "siemens":
            return siemens
        case "ge":
            return ge
        case "philips" if study.conventions.export != "cd" or week < _ENHANCED_FROM_WEEK:
            return philips
        case _:
            return enhanced


def _syntax(study: Study, acquisition: SimulatedSeries, vendor: ModuleType, index: int) -> str:
    """Choose the transfer syntax: archives compress some series and leave others."""
    manner, contrast = study.conventions.manner, acquisition.contrast
    if acquisition.kind == "localizer":
        return "rle"
    if vendor is enhanced:
        return "explicit"
    if contrast == "T2w" and manner == "siemens" and index % 2:
        return "deflated"
    if contrast == "FLAIR" and manner in ("ge", "philips") and not index % 2:
        return "rle"
    return "implicit" if study.conventions.export == "cd" else "explicit"


def _listed(
    study: Study, acquisition: SimulatedSeries, header: Dataset, instance: int, syntax: str
) -> Dataset:
    """Return the little that a DICOMDIR says of an image."""
    listed = Dataset()
    listed.SOPClassUID, listed.Modality = header.SOPClassUID, "MR"
    listed.SOPInstanceUID = study.uid("instance", acquisition.number, instance)
    listed.SeriesInstanceUID, listed.SeriesNumber = header.SeriesInstanceUID, acquisition.number
    listed.InstanceNumber, listed.TransferSyntaxUID = instance, SYNTAXES[syntax]
    return listed


def _truth(
    study: Study,
    acquisition: SimulatedSeries,
    scan: SimulatedScan,
    header: Dataset,
    submission: str,
    syntax: str,
) -> SeriesTruth:
    localizer = acquisition.kind == "localizer"
    role = "localizer" if localizer else "derived" if acquisition.derived else scan.contrast
    return SeriesTruth(
        site_id=study.site_id,
        participant_id=study.participant_id,
        session_id=study.session_id,
        submission=submission,
        series_uid=header.SeriesInstanceUID,
        description=header.SeriesDescription,
        role=role,
        kind=acquisition.kind,
        chosen=acquisition.chosen,
        image=scan.image,
        echo_ms=scan.echo_ms,
        slices=acquisition.slices if localizer else len(scan.planes.pixels),
        announced=acquisition.announced if localizer else scan.planes.complete,
        syntax=syntax,
        cue=study.conventions.cue if role == POSTCONTRAST else "",
    )
