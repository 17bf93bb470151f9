"""Functional groups of enhanced images: what all frames share, and what is of one frame alone."""

from pydicom import Dataset

from mesems_mri.simulate.dicom import common, philips, siemens
from mesems_mri.simulate.dicom.common import Study, clock_of, coded, day_of, private
from mesems_mri.simulate.dicom.csa import protocol_text
from mesems_mri.simulate.dicom.encode import decimal, decimals, element
from mesems_mri.simulate.dicom.timeline import SimulatedScan, SimulatedSeries


def program(study: Study, acquisition: SimulatedSeries) -> tuple[str, list[str], list[str], list[str]]:
    """Return name, ScanningSequence, SequenceVariant and ScanOptions of a pulse sequence."""
    if study.conventions.manner == "philips":
        name, scanning, variant, options, _ = philips.program(acquisition)
        return name, scanning, variant, options
    return siemens.program(acquisition)[1:]


def image_type(study: Study, acquisition: SimulatedSeries) -> list[str]:
    """Return the four words that say what kind of image it is."""
    if acquisition.kind == "mpr":
        return ["DERIVED", "PRIMARY", "MPR", "RESAMPLED"]
    if acquisition.kind == "subtraction":
        return ["DERIVED", "PRIMARY", "SUBTRACT", "SUBTRACTION"]
    if study.conventions.manner != "philips":
        return ["ORIGINAL", "PRIMARY", "M", "NONE"]
    word = {"T1w": "T1", "T2w": "T2", "PDw": "PROTON_DENSITY", "FLAIR": "FLUID_ATTENUATED"}
    return ["ORIGINAL", "PRIMARY", word.get(acquisition.contrast, "UNKNOWN"), "NONE"]


def frame_type(words: list[str]) -> Dataset:
    """Return what enhanced objects say of a frame, and of all, in more words."""
    item = Dataset()
    item.PixelPresentation, item.VolumetricProperties = "MONOCHROME", "VOLUME"
    item.VolumeBasedCalculationTechnique = "NONE" if words[0] == "ORIGINAL" else words[3]
    item.ComplexImageComponent, item.AcquisitionContrast = "MAGNITUDE", "UNKNOWN"
    return item


def shared(study: Study, acquisition: SimulatedSeries) -> Dataset:
    """Return the functional groups that all frames share."""
    scan, shared = acquisition.main, Dataset()
    shared.ReferencedImageSequence = common.localizer_references(study, acquisition, multi_frame=True)
    _, scanning, variant, options = program(study, acquisition)
    modifier = Dataset()
    modifier.PixelBandwidth = decimal(common.bandwidth(acquisition))
    modifier.MagnetizationTransfer, modifier.BloodSignalNulling, modifier.Tagging = "NONE", "NO", "NONE"
    modifier.TransmitterFrequency = common.imaging_frequency(study)
    shared.MRImagingModifierSequence = [modifier]
    receive = Dataset()
    receive.ReceiveCoilName, receive.ReceiveCoilManufacturerName = study.conventions.coil, ""
    receive.ReceiveCoilType, receive.QuadratureReceiveCoil = "MULTICOIL", "NO"
    shared.MRReceiveCoilSequence = [receive]
    transmit = Dataset()
    transmit.TransmitCoilName, transmit.TransmitCoilManufacturerName = "Body", ""
    transmit.TransmitCoilType = "BODY"
    shared.MRTransmitCoilSequence = [transmit]
    timing = Dataset()
    timing.RepetitionTime, timing.FlipAngle = decimal(scan.repetition_ms), decimal(scan.flip_deg)
    train = 15 if "SE" in scanning and acquisition.contrast != "T1w" else 1
    timing.EchoTrainLength, timing.RFEchoTrainLength, timing.GradientEchoTrainLength = train, train, 0
    shared.MRTimingAndRelatedParametersSequence = [timing]
    changes = Dataset()
    changes.InversionRecovery = "YES" if scan.inversion_ms else "NO"
    if scan.inversion_ms:
        changes.InversionTimes = float(scan.inversion_ms)
    changes.FlowCompensation, changes.Spoiling, changes.T2Preparation = "NONE", "RF", "NO"
    changes.SpectrallySelectedExcitation, changes.SpatialPresaturation = "NONE", "NONE"
    changes.PartialFourier, changes.ParallelAcquisition = "NO", "NO"
    shared.MRModifierSequence = [changes]
    field = Dataset()
    field.PercentSampling = field.PercentPhaseFieldOfView = "100"
    field.InPlanePhaseEncodingDirection = "ROW"
    rows, columns = scan.planes.pixels.shape[1:]
    field.MRAcquisitionFrequencyEncodingSteps = columns
    field.MRAcquisitionPhaseEncodingStepsInPlane = rows
    field.MRAcquisitionPhaseEncodingStepsOutOfPlane = scan.planes.complete if acquisition.three_d else 1
    shared.MRFOVGeometrySequence = [field]
    anatomy = Dataset()
    anatomy.AnatomicRegionSequence, anatomy.FrameLaterality = [coded("T-A0100", "SRT", "Brain")], "U"
    shared.FrameAnatomySequence = [anatomy]
    if study.conventions.manner != "philips":
        _add_siemens_shared(shared, study, acquisition, (scanning, variant, options))
    return shared


def _add_siemens_shared(
    shared: Dataset, study: Study, acquisition: SimulatedSeries, words: tuple[list[str], ...]
) -> None:
    person = study.plant("(0021,1019) protocol in the shared groups", study.person.spoken)
    file = siemens.program(acquisition)[0]
    text = protocol_text(acquisition.description, file, study.conventions.coil, {}, person).encode("utf-8")
    item = Dataset()
    private(
        item,
        0x0021,
        0x10,
        "SIEMENS MR SDS 01",
        {
            0x08: ("SH", "Fast*"),
            0x09: ("LO", "p2"),
            0x0C: ("SH", "+LPH"),
            0x10: ("IS", "63010001"),
            0x19: ("OB", text + b"\0" * (len(text) % 2)),
            0x22: ("SH", "SIEMENS"),
            0x2B: ("ST", f"1;HFS;{study.person.weight_kg:.2f};0;0;2;0"),
            0x5A: ("CS", words[0]),
            0x5B: ("CS", words[1]),
            0x5C: ("CS", words[2]),
        },
    )
    private(shared, 0x0021, 0x10, "SIEMENS MR SDS 01", {0xFE: ("SQ", [item])})


def frame(
    study: Study, acquisition: SimulatedSeries, at: tuple[int, int, int], scaling: philips.Scaling | None
) -> Dataset:
    """Return the functional groups of one frame."""
    index, _, echo = at
    scan, frame = acquisition.scans[echo], Dataset()
    localizer = acquisition.kind == "localizer"
    echoes = Dataset()
    echoes.EffectiveEchoTime = float(scan.echo_ms)
    frame.MREchoSequence = [echoes]
    words = image_type(study, acquisition)
    kind = frame_type(words)
    kind.FrameType = words
    frame.MRImageFrameTypeSequence = [kind]
    moment = day_of(acquisition.start) + clock_of(acquisition.start)
    content = Dataset()
    content.FrameAcquisitionDateTime = content.FrameReferenceDateTime = moment
    content.FrameAcquisitionDuration = 1000.0 * acquisition.seconds
    content.FrameAcquisitionNumber = 1
    stack = echo + 1 if localizer else 1
    content.StackID, content.InStackPositionNumber = str(stack), index + 1
    content.TemporalPositionIndex = 1
    several = len(acquisition.scans) > 1 and not localizer
    content.DimensionIndexValues = [stack, index + 1, *([echo + 1] if several else [])]
    frame.FrameContentSequence = [content]
    place, direction = Dataset(), Dataset()
    place.ImagePositionPatient = decimals(scan.planes.position(index))
    frame.PlanePositionSequence = [place]
    direction.ImageOrientationPatient = decimals((*scan.planes.across, *scan.planes.down))
    frame.PlaneOrientationSequence = [direction]
    averages = Dataset()
    averages.NumberOfAverages = "1"
    frame.MRAveragesSequence = [averages]
    measures = Dataset()
    measures.SliceThickness = decimal(scan.planes.thickness_mm)
    measures.SpacingBetweenSlices = decimal(scan.planes.spacing_mm)
    measures.PixelSpacing = decimals(scan.planes.pixel_mm)
    frame.PixelMeasuresSequence = [measures]
    values, window = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = "900", "1800"
    frame.FrameVOILUTSequence = [window]
    values.RescaleIntercept, values.RescaleSlope, values.RescaleType = "0", "1", "US"
    if scaling is not None:
        values.RescaleSlope = decimal(scaling.slope)
        frame.add(element(0x20050014, "LO", "Philips MR Imaging DD 005"))
        classic = _philips_classic(study, acquisition, scan, scaling, at)
        frame.add(element(0x2005140F, "SQ", [classic]))
    else:
        values.RescaleIntercept = str(-siemens.intercept(acquisition))
        _add_siemens_frame(frame, acquisition, scan, index)
    frame.PixelValueTransformationSequence = [values]
    return frame


def _philips_classic(
    study: Study,
    acquisition: SimulatedSeries,
    scan: SimulatedScan,
    scaling: philips.Scaling,
    place: tuple[int, int, int],
) -> Dataset:
    """Return the classic header that Philips hides in each frame."""
    index, number, echo = place
    _, scanning, variant, _, words = philips.program(acquisition)
    tags = philips.private_of_image(acquisition, scaling)
    tags.ImageType = (
        image_type(study, acquisition) if acquisition.derived else ["ORIGINAL", "PRIMARY", *words]
    )
    tags.SOPInstanceUID = study.uid("classic", acquisition.number, number)
    tags.ContentDate, tags.ContentTime = day_of(acquisition.start), clock_of(acquisition.start, 2)
    tags.ScanningSequence, tags.SequenceVariant = scanning, variant
    tags.MRAcquisitionType = "3D" if acquisition.three_d else "2D"
    tags.SliceThickness = decimal(scan.planes.thickness_mm)
    tags.EchoTime, tags.InversionTime = decimal(scan.echo_ms), decimal(scan.inversion_ms)
    tags.ImagedNucleus, tags.NumberOfAverages = "1H", "1"
    tags.EchoNumbers = 1 if acquisition.kind == "localizer" else echo + 1
    tags.SpacingBetweenSlices = decimal(scan.planes.spacing_mm)
    tags.AcquisitionNumber, tags.InstanceNumber = acquisition.number, number
    tags.ImagePositionPatient = decimals(scan.planes.position(index))
    tags.TemporalPositionIdentifier = tags.NumberOfTemporalPositions = 1
    tags.PixelSpacing = decimals(scan.planes.pixel_mm)
    tags.RescaleIntercept, tags.RescaleSlope, tags.RescaleType = "0", decimal(scaling.slope), "normalized"
    tags.add(element(0x2001100A, "IS", str(index + 1)))
    return tags


def _add_siemens_frame(frame: Dataset, acquisition: SimulatedSeries, scan: SimulatedScan, index: int) -> None:
    item = Dataset()
    private(
        item,
        0x0021,
        0x11,
        "SIEMENS MR SDI 02",
        {
            0x03: ("DS", decimal(1000 * acquisition.seconds)),
            0x1A: ("SH", "measured"),
            0x42: ("IS", "26000"),
            0x45: ("SL", [0, 0, -1250]),
            0x4F: ("LO", "HC1-7;NC1"),
            0x56: ("LO", "p2"),
            0x58: ("SH", "*".join(map(str, scan.planes.pixels.shape[1:]))),
            0x5B: ("FD", [float(v) for v in scan.planes.position(index)]),
            0x75: ("CS", ["ORIGINAL", "PRIMARY", "M", "DIS2D"]),
            0x88: ("DS", decimal(scan.planes.location(index))),
        },
    )
    private(frame, 0x0021, 0x11, "SIEMENS MR SDI 02", {0xFE: ("SQ", [item])})
