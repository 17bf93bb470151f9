"""Kinds of DICOM objects by their SOP class: images of MR, other images, and objects without an image."""

from enum import Enum

from pydicom.uid import UID

_STANDARD = "1.2.840.10008."
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_MR = {_STORAGE + end for end in ("4", "4.1", "4.3", "4.4")}
"""MR Image, Enhanced MR, Enhanced MR Color, Legacy Converted Enhanced MR; not 4.2, MR Spectroscopy."""
_OTHER_IMAGES = {
    # radiography, mammography, CT, ultrasound, secondary capture, angiography, nuclear medicine, PET
    *(_STORAGE + end for end in ("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "2", "2.1", "2.2")),
    *(_STORAGE + end for end in ("3", "3.1", "6", "6.1", "6.2", "7", "7.1", "7.2", "7.3", "7.4", "12.1")),
    *(_STORAGE + end for end in ("12.1.1", "12.2", "12.2.1", "13.1.1", "13.1.2", "13.1.3", "20", "128")),
    *(_STORAGE + end for end in ("128.1", "130", "77.1.1", "77.1.2", "77.1.4", "481.1")),
}
_PRIVATE_OBJECTS = (
    # no images, although they may carry Rows and Columns: raw data, protocols, spectra, 3D models of vendors
    "1.3.12.2.1107.5.9.",  # Siemens CSA non-image
    "1.3.46.670589.",  # Philips
    "1.2.840.113619.4.",  # GE
    "1.2.392.200036.9116.7.8.",  # Toshiba, Canon
    "1.2.392.200036.9125.",  # Fujifilm
    "1.2.124.113532.3500.",  # Agfa
    "1.2.276.0.48.5.1.4.1.1.",  # Brainlab
    "1.2.752.24.3.",  # Sectra
    "1.3.6.1.4.1.5962.",  # PixelMed
)


class ObjectKind(Enum):
    """Kinds of objects."""

    MR = "an MR image"
    OTHER_IMAGE = "an image of another kind, a secondary capture among them"
    UNKNOWN = "an object of an unknown class, as exports write that replace or drop the class"
    NO_IMAGE = "an object without an image"


def object_kind(sop_class: str) -> ObjectKind:
    """Return the kind of an object by its SOP Class UID.

    Parameters
    ----------
    sop_class : str
        Empty when the object does not say.

    Returns
    -------
    ObjectKind
        Of the standard, and of the vendors' own classes, only those on the list are images. A class that
        nobody knows may be that of an anonymised image, whose UIDs were all replaced.
    """
    if sop_class in _MR:
        return ObjectKind.MR
    if sop_class in _OTHER_IMAGES:
        return ObjectKind.OTHER_IMAGE
    if sop_class.startswith((_STANDARD, *_PRIVATE_OBJECTS)):
        return ObjectKind.NO_IMAGE
    return ObjectKind.UNKNOWN


def class_name(sop_class: str) -> str:
    """Name a class for the site, in words of the standard only."""
    return UID(sop_class).name if sop_class.startswith(_STANDARD) else "private object"
