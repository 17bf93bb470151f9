"""Reading and writing of NIfTI images: the header policy, and files that repeat byte by byte.

All images of the package pass through this module: ITK follows the qform where nibabel follows the
sform, so a header that says two things is refused, or repaired with a flag, before anyone acts on it.
"""

import re
import zlib
from pathlib import Path
from typing import Final

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from numpy.typing import ArrayLike, NDArray

from mesems_mri.core.typing import Affine, FloatArray, Labels
from mesems_mri.errors import InputError, Reason
from mesems_mri.files import write_bytes
from mesems_mri.images.volume import (
    Volume,
    as_ras,
    corner_distance_mm,
    from_canonical_order,
    in_canonical_order,
    spacing_of,
)

HEADER_LIMIT_MM: Final = 0.1
"""Largest displacement of any corner that a disagreement inside a header may cause."""
NON_FINITE_LIMIT: Final = 0.01
"""Largest fraction of NaN or infinite voxels that is replaced by zero."""
_MIN_FIELD_OF_VIEW_MM: Final = 16.0
_MAX_FIELD_OF_VIEW_MM: Final = 1000.0
_MAX_VOXELS: Final = 2**29
_MM_PER_UNIT: Final = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI codes: unknown, metre, mm, micron
_REPAIR_ADVICE: Final = "re-export the scan or set intake.header_repair"
_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])


def _unreadable(what: str) -> InputError:
    return InputError(what, Reason.UNREADABLE_FILE)


def _without_shear(affine: Affine) -> Affine:
    """Return the affine with the same spacing and centre whose axes are the nearest right angles."""
    spacing = np.array(spacing_of(affine))
    u, _, v = np.linalg.svd(affine[:3, :3] / spacing)
    straight = affine.copy()
    straight[:3, :3] = (u @ v) * spacing
    return straight


def _shear_mm(shape: tuple[int, ...], affine: Affine) -> float:
    # Both affines agree at the middle of the image, where a rotation about voxel 0 would not.
    straight = _without_shear(affine)
    centre = np.append((np.array(shape[:3]) - 1) / 2, 1.0)
    straight[:3, 3] += (affine @ centre - straight @ centre)[:3]
    return corner_distance_mm(shape, affine, straight)


def _forms(header: nib.Nifti1Header) -> dict[str, tuple[int, Affine]]:
    """Return the usable orientations of a header: name -> (code, affine)."""
    forms: dict[str, tuple[int, Affine]] = {}
    for name, read in (("sform", header.get_sform), ("qform", header.get_qform)):
        try:
            affine, code = read(coded=True)
        except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
            msg = f"the {name} in the header is invalid ({error}); re-export the scan"
            raise _unreadable(msg) from error
        if affine is None or not code:
            continue
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            msg = f"the {name} in the header is no orientation (singular or not finite); re-export the scan"
            raise _unreadable(msg)
        forms[name] = (int(code), np.asarray(affine, dtype=np.float64))
    return forms


def _is_rounding(header: nib.Nifti1Header) -> bool:
    """Return whether the qform is the sform as well as it can be stored: near half a turn only to 0.3 mm."""
    again = header.copy()
    again.set_qform(header.get_sform(), int(header["qform_code"]))
    keys = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z", "pixdim")
    return all(np.allclose(again[key], header[key], rtol=1e-6, atol=1e-6) for key in keys)


def _orientation(header: nib.Nifti1Header, *, header_repair: bool) -> tuple[Affine, list[str]]:
    """Return voxel -> RAS mm after the header policy, and the flags it raised."""
    shape = header.get_data_shape()
    flags: list[str] = []
    forms = _forms(header)
    if not forms:
        msg = "the header holds no orientation (qform and sform codes are 0); re-export the scan"
        raise _unreadable(msg)
    units = int(header["xyzt_units"]) & 7
    if units not in _MM_PER_UNIT:
        msg = f"the header's space unit is {units} (expected mm); re-export the scan"
        raise _unreadable(msg)
    if units == 0:
        flags.append("units_assumed")
    elif units != 2:
        flags.append("units_converted")
    scale = np.diag([_MM_PER_UNIT[units]] * 3 + [1.0])
    forms = {name: (code, scale @ affine) for name, (code, affine) in forms.items()}

    shear_mm = _shear_mm(shape, forms["sform"][1]) if "sform" in forms else 0.0
    if len(forms) == 2:
        apart_mm = corner_distance_mm(shape, forms["sform"][1], forms["qform"][1])
        apart_mm *= shear_mm > HEADER_LIMIT_MM or not _is_rounding(header)
        if apart_mm > HEADER_LIMIT_MM and not header_repair:
            msg = (
                f"qform and sform differ by {apart_mm:.1f} mm (limit {HEADER_LIMIT_MM} mm); {_REPAIR_ADVICE}"
            )
            raise _unreadable(msg)
        if apart_mm > HEADER_LIMIT_MM:
            flags.append("header_repaired")
            # A qform holds no shear; code 1 is the scanner's frame, which all scans of a visit share.
            prefer_qform = shear_mm > HEADER_LIMIT_MM or (forms["qform"][0] == 1 != forms["sform"][0])
            return forms["qform" if prefer_qform else "sform"][1], flags
        return forms["sform"][1], flags
    name, (_, affine) = next(iter(forms.items()))
    if name == "sform" and shear_mm > HEADER_LIMIT_MM:
        if not header_repair:
            msg = f"the sform is sheared by {shear_mm:.1f} mm (limit {HEADER_LIMIT_MM} mm); {_REPAIR_ADVICE}"
            raise _unreadable(msg)
        flags.append("header_repaired")
        centre = np.append((np.array(shape[:3]) - 1) / 2, 1.0)
        straight = _without_shear(affine)
        straight[:3, 3] += (affine @ centre - straight @ centre)[:3]
        return straight, flags
    return affine, flags


def _load(path: Path) -> nib.Nifti1Image:
    """Open an image and check what the header says of the array."""
    try:
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Image):
            msg = f"not a NIfTI file but {type(image).__name__}; convert it to .nii.gz"
            raise _unreadable(msg)
        # nibabel mends some headers silently while loading; look at the one in the file.
        with ImageOpener(str(path)) as stream:
            stored = type(image.header).from_fileobj(stream, check=False)
    except FileNotFoundError as error:
        msg = f"{path.name} does not exist; check the input folder"
        raise InputError(msg, Reason.MISSING_SCAN) from error
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, KeyError, zlib.error) as error:
        # Records are the same wherever the data set lies.
        what = str(error).replace(str(path), path.name)
        msg = f"{path.name} cannot be read as NIfTI ({what}); re-export the scan"
        raise _unreadable(msg) from error
    dtype = image.header.get_data_dtype()
    if dtype.names:
        msg = f"the voxels are colours ({', '.join(dtype.names)}); a picture is no brain scan, send the scan"
        raise InputError(msg, Reason.NOT_A_BRAIN)
    if dtype.kind not in "iuf":
        msg = f"the voxels are {dtype} (expected one number each); re-export it in grey values"
        raise _unreadable(msg)
    zooms = np.asarray(stored["pixdim"][1:4], dtype=np.float64)
    if not (np.isfinite(zooms).all() and (zooms > 0).all()):
        sizes = " x ".join(f"{zoom:g}" for zoom in zooms)
        msg = f"the voxel size in the header is {sizes} (expected positive numbers); re-export the scan"
        raise _unreadable(msg)
    shape = image.shape
    if len(shape) < 3:
        msg = f"the matrix is {' x '.join(map(str, shape))} (expected three axes); a picture is no brain scan"
        raise InputError(msg, Reason.NOT_A_BRAIN)
    if len(shape) > 3 and max(shape[3:]) > 1:
        msg = f"the image holds {int(np.prod(shape[3:]))} volumes (expected 1); split it and keep one"
        raise _unreadable(msg)
    if min(shape) < 1 or np.prod(shape, dtype=float) > _MAX_VOXELS:
        msg = f"the matrix is {' x '.join(map(str, shape))} (expected three axes, at most 2^29 voxels)"
        raise _unreadable(msg)
    return image


def _check_extent(shape: tuple[int, ...], affine: Affine) -> None:
    extent = np.array(shape[:3]) * spacing_of(affine)
    if min(shape[:3]) < 2 or extent.min() < _MIN_FIELD_OF_VIEW_MM:
        msg = (
            f"the image has {min(shape[:3])} slice(s) and covers {extent.min():.1f} mm along its shortest "
            f"axis (expected 2 slices and {_MIN_FIELD_OF_VIEW_MM:g} mm); a localiser is no brain scan"
        )
        raise InputError(msg, Reason.NOT_A_BRAIN)
    if extent.max() > _MAX_FIELD_OF_VIEW_MM:
        msg = (
            f"the field of view is {extent.max():.0f} mm (limit {_MAX_FIELD_OF_VIEW_MM:g} mm); "
            "check the units in the header"
        )
        raise _unreadable(msg)


def _read_voxels(path: Path, image: nib.Nifti1Image) -> FloatArray:
    try:
        with np.errstate(over="ignore"):
            # Scaled with the file's slope and intercept.
            voxels = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError, MemoryError, zlib.error) as error:
        what = str(error).replace(str(path), path.name)
        msg = f"{path.name} is truncated or damaged ({what}); copy it again or re-export the scan"
        raise _unreadable(msg) from error
    x, y, z = image.shape[:3]
    return np.array(voxels.reshape((x, y, z)), dtype=np.float32, order="C")


def read_image(path: str | Path, *, header_repair: bool = False) -> tuple[Volume, tuple[str, ...]]:
    """Read a scan under the header policy.

    Parameters
    ----------
    path : str or Path
        A `.nii` or `.nii.gz` file with one volume.
    header_repair : bool
        Mend an orientation that is contradictory or sheared instead of refusing it: keep the form that
        is a pure rotation, the scanner's own if both are.

    Returns
    -------
    volume : Volume
        Array in file order (a single fourth axis is dropped), affine in RAS mm.
    flags : tuple of str
        Any of `header_repaired`, `units_assumed` (unit unknown, taken as mm), `units_converted`,
        `non_finite_voxels` (at most 1 %, set to 0), `negative_values` (kept).

    Raises
    ------
    InputError
        `MISSING_SCAN`, `UNREADABLE_FILE` (damaged, no NIfTI, colour or complex, several volumes, a
        header against the policy), `ARTEFACT` (constant, or more than 1 % NaN or infinite),
        `NOT_A_BRAIN` (fewer than 2 slices or less than 16 mm, or a picture).
    """
    path = Path(path)
    image = _load(path)
    affine, flags = _orientation(image.header, header_repair=header_repair)
    _check_extent(image.shape, affine)
    voxels = _read_voxels(path, image)
    finite = np.isfinite(voxels)
    if not finite.all():
        fraction = 1 - float(finite.mean())
        if fraction > NON_FINITE_LIMIT:
            limit = f"limit {NON_FINITE_LIMIT:.0%}"
            msg = f"{fraction:.1%} of the voxels are NaN or infinite ({limit}); re-export the scan"
            raise InputError(msg, Reason.ARTEFACT)
        voxels[~finite] = 0
        flags.append("non_finite_voxels")
    lowest, highest = float(voxels.min()), float(voxels.max())
    if lowest == highest:
        msg = f"every voxel has the value {lowest:g} (expected an image); re-export the scan"
        raise InputError(msg, Reason.ARTEFACT)
    if lowest < 0:
        flags.append("negative_values")
    return Volume(voxels, affine), tuple(flags)


def read_in_canonical_order(
    path: str | Path, *, header_repair: bool = False
) -> tuple[Volume, tuple[str, ...]]:
    """Read a scan as `read_image` does, and bring its voxels to canonical order.

    Whatever is computed from it is the same for every order in which the same voxels may be stored.
    """
    volume, flags = read_image(path, header_repair=header_repair)
    return Volume(*in_canonical_order(volume.array, volume.affine)), flags


def read_in_ras(path: str | Path) -> tuple[FloatArray, tuple[float, float, float]] | None:
    """Read an image for a picture: its voxels with axes in RAS order, and their size in mm.

    Returns
    -------
    tuple of (ndarray of float32, shape (x, y, z); tuple of float) or None
        None when it cannot be read: a picture that is missing stops nothing.
    """
    try:
        volume, _ = read_image(path)
    except (InputError, OSError):
        return None
    return as_ras(volume.array, volume.affine)


def read_grid(path: str | Path) -> tuple[tuple[int, int, int], Affine]:
    """Read the matrix size of an image and its voxel -> RAS mm, without its voxels.

    Raises
    ------
    InputError
        As `read_image`, as far as the header shows it.
    """
    image = _load(Path(path))
    x, y, z = image.shape[:3]
    return (x, y, z), _orientation(image.header, header_repair=False)[0]


def read_labels(path: str | Path, *, header_repair: bool = False) -> tuple[Labels, Affine]:
    """Read a mask or a dseg: whole numbers (int32) in file order and voxel -> RAS mm.

    Raises
    ------
    InputError
        As `read_image`, and `UNREADABLE_FILE` when values are not whole numbers of 0 or more.
    """
    path = Path(path)
    image = _load(path)
    affine, _ = _orientation(image.header, header_repair=header_repair)
    voxels = _read_voxels(path, image)
    labels = np.rint(np.nan_to_num(voxels))
    if not np.allclose(labels, voxels, atol=1e-3) or labels.min() < 0:
        msg = f"{path.name} is no label image: values are not whole numbers of 0 or more"
        raise _unreadable(msg)
    return labels.astype(np.int32), affine


def _write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, gzip without time and name, so that equal input gives equal bytes."""
    if path.suffix == ".gz":
        # Noise hardly compresses: zlib needs far more time for files of the same size.
        content = igzip.compress(content, compresslevel=2, mtime=0)
    write_bytes(path, content)


def _write(path: Path, array: NDArray[np.generic], affine: Affine) -> None:
    image = nib.Nifti1Image(array, affine)
    # Code 2: aligned to something, not the scanner's own frame; both forms say the same.
    image.set_qform(affine, code=2, strip_shears=True)
    image.set_sform(affine, code=2)
    image.header.set_xyzt_units("mm")
    _write_bytes(path, image.to_bytes())


def image_bytes(array: NDArray[np.generic], affine: Affine) -> bytes:
    """Return an image as gzip NIfTI whose header holds nothing but geometry and dtype."""
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, code=2, strip_shears=True)
    image.set_sform(affine, code=2)
    image.header.set_xyzt_units("mm")
    return igzip.compress(image.to_bytes(), compresslevel=2, mtime=0)


def write_image(path: str | Path, array: ArrayLike, affine: Affine) -> None:
    """Write an image as float32 with qform = sform; equal input gives equal bytes."""
    _write(Path(path), np.asarray(array, dtype=np.float32), affine)


def _as_stored_labels(array: ArrayLike) -> NDArray[np.unsignedinteger]:
    labels = np.asarray(array)
    lowest, highest = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if labels.dtype.kind not in "biu" or lowest < 0 or highest > np.iinfo(np.uint16).max:
        msg = f"labels must be whole numbers of 0 to 65535, got {labels.dtype} from {lowest} to {highest}"
        raise ValueError(msg)
    return labels.astype(np.uint8 if highest <= np.iinfo(np.uint8).max else np.uint16)


def write_labels(path: str | Path, array: ArrayLike, affine: Affine) -> None:
    """Write a mask or dseg as uint8 (uint16 above 255) with qform = sform; equal input gives equal bytes."""
    _write(Path(path), _as_stored_labels(array), affine)


def write_labels_like(
    path: str | Path, array: ArrayLike, source_path: str | Path, *, canonical: bool = False
) -> None:
    """Write a mask or dseg with exactly the shape, qform, sform and units of the source image.

    Parameters
    ----------
    path : str or Path
        File to write.
    array : array_like of bool or int
        Same first three axes as the source.
    source_path : str or Path
        The scan as the site sent it; a header that was repaired on reading is copied as it is, so that
        the mask opens on that scan in any viewer.
    canonical : bool
        The array is in canonical order; it is written in that of the source.

    Raises
    ------
    ValueError
        Other shape than the source, or not labels.
    """
    source = _load(Path(source_path))
    labels = _as_stored_labels(array)
    if canonical:
        labels = from_canonical_order(labels, _orientation(source.header, header_repair=True)[0])
    if labels.shape != source.shape[:3]:
        msg = f"labels have the shape {labels.shape}, the source {source.shape[:3]}"
        raise ValueError(msg)
    header = source.header.copy()
    header.set_data_dtype(labels.dtype)
    header.set_slope_inter(1, 0)
    # Texts of the source may name a person or a machine, and say nothing of the mask.
    for text in ("descrip", "aux_file", "intent_name", "db_name"):
        if text in header:
            header[text] = b""
    header["cal_min"] = header["cal_max"] = 0
    image = type(source)(labels.reshape(source.shape), None, header)
    image.header.extensions.clear()
    _write_bytes(Path(path), image.to_bytes())


def write_xfm(path: str | Path, matrix: Affine) -> None:
    """Write a transform as ITK text.

    Parameters
    ----------
    path : str or Path
        File to write.
    matrix : ndarray of float64, shape (4, 4)
        RAS mm of the output (fixed) space -> RAS mm of the image that is resampled (moving); ITK stores
        the same direction in LPS mm.
    """
    lps = _LPS @ np.asarray(matrix, dtype=np.float64) @ _LPS
    # + 0.0 turns -0.0 into 0.0.
    parameters = " ".join(repr(float(v) + 0.0) for v in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    text = (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {parameters}\nFixedParameters: 0 0 0\n"
    )
    _write_bytes(Path(path), text.encode())


def read_xfm(path: str | Path) -> Affine:
    """Read a linear ITK text transform as a 4x4 matrix in RAS mm (fixed -> moving).

    Raises
    ------
    ValueError
        Not one linear transform with 12 parameters and a centre.
    """
    text = Path(path).read_text()
    rows = {
        key: [float(value) for value in values.split()]
        for key, values in re.findall(r"^(Parameters|FixedParameters):(.*)$", text, flags=re.MULTILINE)
    }
    if text.count("Transform:") != 1 or len(rows.get("Parameters", [])) != 12:
        msg = f"{Path(path).name} is not one linear ITK transform of 12 parameters"
        raise ValueError(msg)
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(rows["Parameters"][:9], (3, 3))
    centre = np.array(rows.get("FixedParameters") or [0.0, 0.0, 0.0])
    lps[:3, 3] = np.array(rows["Parameters"][9:]) + centre - lps[:3, :3] @ centre
    return _LPS @ lps @ _LPS
