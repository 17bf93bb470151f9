"""Build the tissue atlas of the package from whole-head label maps.

Each label map is turned into a skull-stripped T1-like image (one intensity per tissue), registered to the
MNI152 template that nilearn ships (12 dof, then a diffeomorphic warp, both with greedy), and its tissue
memberships are
carried along and averaged. One command, no options needed when the label maps lie at their usual place::

    python training/build_atlas.py [--labelmaps DIR] [--out FILE]

``DIR`` defaults to ``$MESEMS_REAL_DATA/labelmaps``, else ``../shared/data/labelmaps``. Deterministic: the
file is byte-identical from run to run on one machine.
"""

import argparse
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK
from nilearn.datasets import load_mni152_template
from picsl_greedy import Greedy3D
from scipy import ndimage

from mesems_mri.images.itk import from_itk, to_itk
from mesems_mri.models.atlas import ATLAS_FILE, CLASSES, write_atlas

# FreeSurfer labels of each class. Hippocampus and amygdala count as cortex (they look and matter like it),
# the ventral diencephalon as deep grey; labels 25 and 57 are white-matter lesions, 136/137/163/164 choroid
# plexus.
CLASS_LABELS: dict[str, tuple[int, ...]] = {
    "white_matter": (2, 41, 25, 57),
    "cortex": (3, 42, 17, 53, 18, 54),
    "deep_grey": (10, 49, 11, 50, 12, 51, 13, 52, 26, 58, 28, 60, 30, 62),
    "lateral_ventricles": (4, 43, 5, 44, 72),
    "csf": (24, 14, 15, 85),
    "choroid_plexus": (136, 137, 163, 164),
    "cerebellum": (7, 46, 8, 47),
    "brainstem": (16,),
    "soft_tissue": (502, 507, 508, 509, 511, 512, 514, 530),
    "skull": (515, 516),
    "eyes": (506,),
}
BRAIN_CLASSES = tuple(name for name in CLASSES if name not in {"soft_tissue", "skull", "eyes"})
# Intensities of the T1-like image that is registered to the template; white cerebellar matter apart from
# grey.
T1_INTENSITY = {
    "white_matter": 110.0,
    "cortex": 80.0,
    "deep_grey": 90.0,
    "lateral_ventricles": 25.0,
    "csf": 30.0,
    "choroid_plexus": 60.0,
    "cerebellum": 80.0,
    "brainstem": 105.0,
}
CEREBELLAR_WHITE_MATTER = (7, 46)
VESSELS = (502, 514)

# 2 mm grid that holds the head from the chin to the vertex, nose included; RAS, MNI mm.
GRID_SHAPE = (99, 127, 115)
GRID_ORIGIN_MM = (-98.0, -134.0, -112.0)
SPACING_MM = 2.0
# How far below the lowest voxel of cerebellum or brainstem the spinal CSF still counts as intracranial.
FORAMEN_MARGIN_MM = 2.0


def class_map(labels: np.ndarray) -> np.ndarray:
    """Return the class number (1 + index in ``CLASSES``) of each voxel, the brain cut at the foramen magnum.

    Parameters
    ----------
    labels : ndarray of int, shape (x, y, z)
        FreeSurfer labels, RAS, 1 mm.
    """
    classes = np.zeros(labels.shape, np.uint8)
    for number, name in enumerate(CLASSES, start=1):
        classes[np.isin(labels, CLASS_LABELS[name])] = number
    brain = (classes > 0) & (classes <= len(BRAIN_CLASSES))
    # Specks of CSF outside the skull (noise of the automatic labels) are no brain; nor is the spinal canal.
    opened = ndimage.binary_opening(brain, ndimage.generate_binary_structure(3, 1), iterations=2)
    components, _ = ndimage.label(opened)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    core = components == int(np.argmax(sizes))
    inside = brain & ndimage.binary_dilation(core, iterations=3)
    hindbrain = np.isin(labels, (*CLASS_LABELS["cerebellum"], *CLASS_LABELS["brainstem"]))
    lowest = int(np.flatnonzero(hindbrain.any(axis=(0, 1)))[0] - FORAMEN_MARGIN_MM)
    inside[:, :, : max(lowest, 0)] = False
    # Veins and arteries between parts of the brain (straight sinus, basal arteries) lie inside the dura.
    vessels = np.isin(labels, VESSELS) & ndimage.binary_closing(inside, iterations=4)
    holes = vessels | (ndimage.binary_fill_holes(inside) & ~inside & (classes == 0))
    classes[brain & ~inside] = 1 + CLASSES.index("soft_tissue")
    classes[holes] = 1 + CLASSES.index("csf")
    return classes


def t1_like(classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return a skull-stripped T1-like image of one label map (float32)."""
    lookup = np.zeros(len(CLASSES) + 1, np.float32)
    for name, intensity in T1_INTENSITY.items():
        lookup[1 + CLASSES.index(name)] = intensity
    image = lookup[classes]
    image[np.isin(labels, CEREBELLAR_WHITE_MATTER)] = T1_INTENSITY["white_matter"]
    return image


def warp_classes(
    classes: np.ndarray, image: np.ndarray, affine: np.ndarray, template: SimpleITK.Image
) -> np.ndarray:
    """Register one head to the template and return its class numbers on the 1 mm atlas grid."""
    greedy = Greedy3D()
    # NCC needs texture where the image is flat; greedy's own noise would differ from run to run (-noise 0).
    texture = np.random.default_rng(0).normal(0.0, 0.1, image.shape)
    moving = to_itk((ndimage.gaussian_filter(image, 0.7) + texture).astype(np.float32), affine)
    greedy.execute(
        "-d 3 -a -dof 12 -m NCC 2x2x2 -i fixed moving -ia-image-centers -n 100x50x0 -noise 0 -jitter 0 "
        "-threads 1 -o linear -V 0",
        fixed=template,
        moving=moving,
        linear=None,
    )
    greedy.execute(
        "-d 3 -m NCC 2x2x2 -i fixed moving -it linear -n 100x60x20 -s 2.0vox 0.7vox -noise 0 "
        "-threads 1 -o warp -V 0",
        fixed=template,
        moving=moving,
        warp=None,
    )
    fine_affine = np.diag([1.0, 1.0, 1.0, 1.0])
    fine_affine[:3, 3] = np.array(GRID_ORIGIN_MM) - 0.5
    reference = to_itk(np.zeros([2 * n for n in GRID_SHAPE], np.float32), fine_affine)
    greedy.execute(
        "-d 3 -rf reference -ri NN -rm classes warped -r warp linear -threads 1 -V 0",
        reference=reference,
        classes=to_itk(classes.astype(np.float32), affine),
        warped=None,
    )
    return np.rint(from_itk(greedy["warped"])).astype(np.uint8)


def block_mean(mask: np.ndarray) -> np.ndarray:
    """Return the mean over blocks of 2 x 2 x 2 voxels (float32)."""
    nx, ny, nz = (n // 2 for n in mask.shape)
    return mask.reshape(nx, 2, ny, 2, nz, 2).mean(axis=(1, 3, 5), dtype=np.float32)


def main() -> None:
    """Build the atlas and write it."""
    parser = argparse.ArgumentParser(description="Build the tissue atlas.")
    real_data = Path(os.environ.get("MESEMS_REAL_DATA", "../shared/data"))
    parser.add_argument("--labelmaps", type=Path, default=real_data / "labelmaps")
    parser.add_argument("--out", type=Path, default=ATLAS_FILE)
    options = parser.parse_args()
    paths = sorted(options.labelmaps.glob("training_seg_*.nii.gz"))
    if not paths:
        parser.error(f"no training_seg_*.nii.gz in {options.labelmaps}; give --labelmaps")

    atlas_affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    atlas_affine[:3, 3] = GRID_ORIGIN_MM
    mni = load_mni152_template(resolution=2)
    padded = np.zeros(GRID_SHAPE, np.float32)
    start = np.rint((mni.affine[:3, 3] - atlas_affine[:3, 3]) / SPACING_MM).astype(int)
    stop = start + mni.shape
    padded[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = np.asarray(mni.dataobj, np.float32)
    padded *= 110.0 / np.percentile(padded[padded > 0], 90)
    padded += np.random.default_rng(1).normal(0.0, 0.1, GRID_SHAPE).astype(np.float32)
    template = to_itk(padded, atlas_affine)

    total = np.zeros((*GRID_SHAPE, len(CLASSES)), np.float64)
    for path in paths:
        head = nib.as_closest_canonical(nib.load(path))
        labels = np.asarray(head.dataobj).astype(np.int32)
        classes = class_map(labels)
        warped = warp_classes(classes, t1_like(classes, labels), head.affine, template)
        for index in range(len(CLASSES)):
            total[..., index] += block_mean(warped == index + 1)
        intracranial = np.count_nonzero((classes > 0) & (classes <= len(BRAIN_CLASSES)))
        overlap = np.count_nonzero((warped > 0) & (warped <= len(BRAIN_CLASSES)))
        print(
            f"{path.name}: intracranial {intracranial / 1000:.0f} ml, after warping {overlap / 1000:.0f} ml",
            flush=True,
        )
    write_atlas(options.out, (total / len(paths)).astype(np.float32), atlas_affine)
    print(f"{len(paths)} heads -> {options.out.name}, {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
