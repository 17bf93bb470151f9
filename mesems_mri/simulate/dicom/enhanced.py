"""Enhanced multi-frame images (one object for a series) as Philips and Siemens XA write them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.uid import EnhancedMRImageStorage

from mesems_mri.simulate.dicom import common, frames, philips, siemens
from mesems_mri.simulate.dicom.common import Study, clock_of, coded, day_of, private
from mesems_mri.simulate.dicom.encode import decimal
from mesems_mri.simulate.dicom.timeline import SimulatedSeries

_STACK_ID, _POSITION, _ECHO = 0x00209056, 0x00209057, 0x00189082
_FRAME_CONTENT, _MR_ECHO = 0x00209111, 0x00189114


def instances(
    study: Study, acquisition: SimulatedSeries
) -> Iterator[tuple[list[DataElement], NDArray[np.integer]]]:
    """Yield the one object of a series: nothing is of an instance alone, and the pixels of all frames."""
    order = list(siemens.image_order(acquisition))
    if study.conventions.manner == "philips":
        scaling = philips.scaling_of(acquisition)
        pixels = [scaling.stored(scan.planes) for scan in acquisition.scans]
    else:
        pixels = [siemens.stored(acquisition, scan) for scan in acquisition.scans]
    yield [], np.stack([pixels[echo][index] for index, _, echo in order])


def header(study: Study, acquisition: SimulatedSeries) -> Dataset:
    """Return the header with its functional groups."""
    own = study.conventions.manner == "philips"
    tags = philips.base_header(study, acquisition) if own else common.series_header(study, acquisition)
    scan = acquisition.main
    words = frames.image_type(study, acquisition)
    tags.SOPClassUID = EnhancedMRImageStorage
    tags.SOPInstanceUID = study.uid("instance", acquisition.number, 1)
    tags.InstanceNumber = 1
    tags.ImageType = words
    tags.update(frames.frame_type(words))
    tags.AcquisitionDateTime = day_of(acquisition.start) + clock_of(acquisition.start)
    tags.AcquisitionDuration = float(acquisition.seconds)
    tags.MRAcquisitionType = "3D" if acquisition.three_d else "2D"
    tags.MagneticFieldStrength = decimal(study.field_t)
    tags.ResonantNucleus = "1H"
    tags.EchoPulseSequence = "GRADIENT" if "GR" in frames.program(study, acquisition)[1] else "SPIN"
    tags.PulseSequenceName = frames.program(study, acquisition)[0]
    tags.ContentQualification = "PRODUCT"
    tags.ApplicableSafetyStandardAgency = "IEC"
    tags.BurnedInAnnotation, tags.LossyImageCompression = "NO", "00"
    tags.PresentationLUTShape = "IDENTITY"
    tags.NumberOfFrames = acquisition.slices
    tags.Rows, tags.Columns = scan.planes.pixels.shape[1:]
    # Philips scales to 12 bits; Siemens takes more where it needs them.
    largest = max(int(part.planes.pixels.max()) for part in acquisition.scans) + siemens.intercept(
        acquisition
    )
    bits = 12 if own or largest < 4096 else 16
    tags.BitsAllocated, tags.BitsStored, tags.HighBit, tags.PixelRepresentation = 16, bits, bits - 1, 0
    dimensions = ((_STACK_ID, _FRAME_CONTENT), (_POSITION, _FRAME_CONTENT))
    if len(acquisition.scans) > 1 and acquisition.kind != "localizer":
        dimensions += ((_ECHO, _MR_ECHO),)
    organisation = Dataset()
    organisation.DimensionOrganizationUID = study.uid("dimensions", acquisition.number)
    tags.DimensionOrganizationSequence = [organisation]
    tags.DimensionIndexSequence = [_dimension(organisation, *pointers) for pointers in dimensions]
    if acquisition.bolus is not None and study.conventions.cue == "tags":
        tags.ContrastBolusAgentSequence = [_agent(study, acquisition)]
    if own:
        tags.SpacingBetweenSlices = decimal(scan.planes.spacing_mm)
        private(tags, 0x2001, 0x10, "Philips Imaging DD 001", {0x5F: ("SQ", [philips.stack(acquisition)])})
    else:
        tags.Manufacturer = "Siemens Healthineers"
        private(tags, 0x0021, 0x12, "SIEMENS MR SDR 01", {0x01: ("LO", "ACQUISITION")})
    tags.SharedFunctionalGroupsSequence = [frames.shared(study, acquisition)]
    scaling = philips.scaling_of(acquisition) if own else None
    tags.PerFrameFunctionalGroupsSequence = [
        frames.frame(study, acquisition, place, scaling) for place in siemens.image_order(acquisition)
    ]
    return tags


def _dimension(organisation: Dataset, index: int, group: int) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID = organisation.DimensionOrganizationUID
    item.DimensionIndexPointer, item.FunctionalGroupPointer = index, group
    return item


def _agent(study: Study, acquisition: SimulatedSeries) -> Dataset:
    """Return the agent as enhanced objects describe it, in a sequence of its own."""
    bolus = acquisition.bolus
    item = coded("C-17800", "SRT", "Gadolinium")
    item.ContrastBolusAgentNumber = 1
    item.ContrastBolusAdministrationRouteSequence = [coded("G-D101", "SRT", "Intravenous route")]
    item.ContrastBolusIngredientCodeSequence = [coded("C-17800", "SRT", "Gadolinium")]
    if bolus is not None:
        given = Dataset()
        given.ContrastBolusVolume, given.ContrastFlowRate = decimal(bolus.volume_ml), "2"
        given.ContrastBolusStartTime = clock_of(bolus.moment, 0)
        item.ContrastBolusVolume = decimal(bolus.volume_ml)
        item.ContrastAdministrationProfileSequence = [given]
    item.ContrastBolusIngredientConcentration = decimal(
        study.conventions.agent_mmol_ml * common.GRAMS_PER_MOL[study.conventions.agent]
    )
    return item
