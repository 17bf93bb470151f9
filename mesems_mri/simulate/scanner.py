"""The scanners of the simulated sites: signal of tissue, sampling, coil bias, noise and scan files.

The signal of a tissue follows from its relaxation times and proton density:

- spin echo: ``PD (1 - exp(-TR/T1)) exp(-TE/T2)``
- inversion recovery (FLAIR; MP-RAGE without its read-out train):
  ``PD |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2)``
- gadolinium: ``1/T1 -> 1/T1 + r1 C`` and ``1/T2 -> 1/T2 + r2 C`` with r1 = 4.1 and r2 = 5.0 L/(mmol s)
  (Rohrer et al. 2005, Invest Radiol 40:715)

Magnitude noise is Rician (Gudbjartsson and Patz 1995, Magn Reson Med 34:910) and independent in every image.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.floating]
Affine = NDArray[np.float64]

_R1_PER_MM_S, _R2_PER_MM_S = 4.1, 5.0


@dataclass(frozen=True)
class Tissue:
    """What the signal of a tissue depends on.

    Parameters
    ----------
    t1_ms, t2_ms : tuple of float
        Relaxation times at 1.5 T and at 3 T.
    proton_density : float
        Relative to water.
    gadolinium_mmol_l : float
        Concentration after a standard dose.
    """

    t1_ms: tuple[float, float]
    t2_ms: tuple[float, float]
    proton_density: float
    gadolinium_mmol_l: float = 0.0


# White and grey matter: Wansapura et al. 1999 (J Magn Reson Imaging 9:531), Stanisz et al. 2005 (Magn Reson
# Med 54:507); the rest as in BrainWeb (Kwan et al. 1999, IEEE TMI 18:1085), blood and CSF by the same
# sources, but with a short T2 for blood, since it flows.
TISSUES: dict[str, Tissue] = {
    "white_matter": Tissue((650, 850), (78, 73), 0.70, 0.01),
    "grey_matter": Tissue((1080, 1350), (97, 95), 0.81, 0.02),
    "csf": Tissue((4000, 4100), (2000, 1900), 1.00),
    "blood": Tissue((1450, 1750), (45, 40), 0.72, 1.2),
    "choroid_plexus": Tissue((1300, 1550), (140, 125), 0.85, 0.35),
    "dura": Tissue((900, 1050), (60, 55), 0.60, 0.30),
    "pituitary": Tissue((800, 950), (90, 85), 0.78, 0.60),
    "cortical_bone": Tissue((500, 600), (8, 7), 0.10),
    "marrow": Tissue((380, 420), (60, 55), 0.55, 0.02),
    "fat": Tissue((300, 370), (65, 60), 0.70),
    "muscle": Tissue((950, 1300), (45, 38), 0.80, 0.06),
    "vitreous": Tissue((3800, 4000), (900, 800), 1.00),
}
"""Tissues of the head; air gives no signal."""


@dataclass(frozen=True)
class Sequence:
    """A pulse sequence; times in milliseconds, no inversion when ``inversion_ms`` is 0."""

    repetition_ms: float
    echo_ms: float
    inversion_ms: float = 0.0
    flip_angle_deg: float = 90.0

    def signal(self, tissue: Tissue, field_t: float, contrast_dose: float = 0.0) -> float:
        """Return the signal of a tissue (relative to fully relaxed water) at a field in tesla."""
        high = field_t > 2
        concentration = tissue.gadolinium_mmol_l * contrast_dose
        t1 = 1 / (1 / tissue.t1_ms[high] + _R1_PER_MM_S * concentration / 1000)
        t2 = 1 / (1 / tissue.t2_ms[high] + _R2_PER_MM_S * concentration / 1000)
        recovered = 1 - np.exp(-self.repetition_ms / t1)
        if self.inversion_ms:
            recovered = 1 - 2 * np.exp(-self.inversion_ms / t1) + np.exp(-self.repetition_ms / t1)
        return float(tissue.proton_density * abs(recovered) * np.exp(-self.echo_ms / t2))


@dataclass(frozen=True)
class Site:
    """A site: its scanner and protocol.

    Parameters
    ----------
    site_id, manufacturer, model : str
        As written to the tables and sidecars.
    field_t : float
        Field strength, tesla.
    sequences : dict of str to Sequence
        By contrast; the post-contrast T1w uses the sequence ``T1w``.
    snr : float
        White-matter signal over the noise sigma, in every image.
    bias : tuple of float
        Coil bias: slope along x, y, z per 100 mm and loss of signal at 100 mm from the isocentre.
    flip : tuple of int
        Direction of each voxel axis, 1 or -1 against RAS.
    tilt_deg : tuple of float
        Obliqueness of the slices about x, y, z.
    contrast_dose : float
        Gadolinium effect relative to the standard dose and delay.
    """

    site_id: str
    manufacturer: str
    model: str
    field_t: float
    sequences: dict[str, Sequence]
    snr: float
    bias: tuple[float, float, float, float]
    flip: tuple[int, int, int]
    tilt_deg: tuple[float, float, float]
    contrast_dose: float = 1.0


_SITES = (
    Site(
        "S01",
        "Siemens",
        "Prisma",
        3.0,
        {
            "T1w": Sequence(2300, 3, 900, 9),
            "T2w": Sequence(5000, 85),
            "FLAIR": Sequence(9000, 95, 2500),
        },
        snr=36,
        bias=(0.06, -0.05, 0.08, 0.16),
        flip=(1, 1, 1),
        tilt_deg=(-6.0, 1.0, 2.0),
    ),
    Site(
        "S02",
        "Philips",
        "Achieva",
        1.5,
        {
            "T1w": Sequence(550, 12),
            "T2w": Sequence(4500, 100),
            "FLAIR": Sequence(8500, 110, 2450),
        },
        snr=30,
        bias=(-0.05, 0.04, -0.07, 0.09),
        flip=(-1, 1, 1),
        tilt_deg=(-10.0, -1.5, -1.0),
        contrast_dose=0.85,
    ),
)


def make_sites(number: int, rng: np.random.Generator) -> list[Site]:
    """Return the two model sites, then sites like them with other noise, bias, tilt and dose."""
    sites = list(_SITES[:number])
    for index in range(len(sites), number):
        model = _SITES[index % len(_SITES)]
        sites.append(
            Site(
                f"S{index + 1:02d}",
                model.manufacturer,
                model.model,
                model.field_t,
                model.sequences,
                snr=float(rng.uniform(25, 40)),
                bias=(*rng.uniform(-0.08, 0.08, 3).tolist(), float(rng.uniform(0.1, 0.25))),
                flip=model.flip,
                tilt_deg=(float(rng.uniform(-15, 0)), *rng.uniform(-2, 2, 2).tolist()),
                contrast_dose=float(rng.uniform(0.8, 1.15)),
            )
        )
    return sites


def rigid(rotation_deg: FloatArray, translation_mm: FloatArray) -> Affine:
    """Return the 4x4 matrix that rotates about x, then y, then z, and then translates."""
    x, y, z = np.deg2rad(rotation_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    matrix[:3, 3] = translation_mm
    return matrix


def make_grid_affine(
    site: Site, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> Affine:
    """Return voxel -> scanner RAS mm of a site's slices, centred on the isocentre."""
    axes = np.diag([*(f * s for f, s in zip(site.flip, spacing_mm, strict=True)), 1.0])
    affine = rigid(np.array(site.tilt_deg), np.zeros(3)) @ axes
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def spline_coefficients(image: FloatArray) -> NDArray[np.float32]:
    """Return the cubic spline coefficients of an image."""
    coefficients = np.empty(image.shape, np.float32)
    ndimage.spline_filter(image, 3, output=coefficients)  # pyright: ignore[reportArgumentType]
    return coefficients


def sample_head(
    coefficients: FloatArray, head_affine: Affine, shape: tuple[int, int, int], to_head: Affine
) -> NDArray[np.float32]:
    """Sample a head image on the voxels of a scan.

    Parameters
    ----------
    coefficients : ndarray (X, Y, Z)
        Cubic spline coefficients of the image (`spline_coefficients`).
    head_affine : ndarray (4, 4)
        Head voxel -> head mm.
    shape : tuple of int
        Shape of the scan.
    to_head : ndarray (4, 4)
        Scan voxel -> head mm.

    Returns
    -------
    ndarray of float32
        Of the scan's shape.
    """
    matrix = np.linalg.inv(head_affine) @ to_head
    scan = np.empty(shape, np.float32)
    ndimage.affine_transform(
        coefficients,
        matrix[:3, :3],
        offset=matrix[:3, 3],  # pyright: ignore[reportArgumentType]
        output=scan,
        order=3,
        prefilter=False,
    )
    return scan


def acquire(
    signal: FloatArray, affine: Affine, site: Site, *, sigma: float, gain: float, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Make a magnitude image: coil bias, Rician noise, receiver gain and rounding.

    Parameters
    ----------
    signal : ndarray (X, Y, Z)
        Noise-free signal.
    affine : ndarray (4, 4)
        Voxel -> scanner mm, for the bias.
    site : Site
        Whose coil bias is applied.
    sigma : float
        Noise of the real and the imaginary part, in units of the signal.
    gain : float
        Stored units per unit of signal.
    rng : Generator
        Noise is drawn from it.
    """
    index = np.ogrid[tuple(slice(n) for n in signal.shape)]
    position = [
        (affine[axis, 3] + sum(affine[axis, k] * index[k] for k in range(3))) / 100 for axis in range(3)
    ]
    bias = 1 + sum(c * p for c, p in zip(site.bias, position, strict=False))
    bias = bias - site.bias[3] * sum(p**2 for p in position)
    noise = rng.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(sigma)
    magnitude = np.hypot(signal * np.clip(bias, 0.2, None) + noise[0], noise[1])
    return np.clip(np.rint(gain * magnitude), 0, np.iinfo(np.int16).max).astype(np.int16)


def write_scan(path: Path, array: NDArray[np.int16], affine: Affine) -> None:
    """Write a scan as int16 in scanner space (form code 1); equal input gives equal bytes."""
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=3, mtime=0))
