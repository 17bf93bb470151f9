"""A trial of all six kinds of sites with small noisy images instead of heads: for tests of its DICOM."""

import datetime as dt
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian

from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.files import write_json
from mesems_mri.simulate import defects, scanner
from mesems_mri.simulate.dataset import scan_sidecar, write_raw_dataset, write_sessions
from mesems_mri.simulate.defects import Defect
from mesems_mri.simulate.sites import make_sites
from mesems_mri.simulate.tissue import ContrastAgent

WEEKS = (0, 8, 12, 24)
DEFECTS = {(0, 1): Defect.NO_FLAIR, (1, 1): Defect.TRUNCATED, (4, 1): Defect.NO_POSTCONTRAST}
_COARSER = 8
Files = dict[str, bytes]


def make_tiny_trial(folder: Path, participants: int = 6) -> Path:
    """Write a raw data set as `simulate_trial` does, without truth."""
    sites = make_sites(6, np.random.default_rng(1))
    people = []
    for index in range(participants):
        site, label = sites[index], f"sub-{index + 1:02d}"
        rng = np.random.default_rng(index)
        people.append([label, site.site_id, "FM"[index % 2], str(30 + index)])
        quick = site.quick_geometry
        geometry = replace(quick, pixel_mm=_COARSER * quick.pixel_mm, slice_mm=_COARSER * quick.slice_mm)
        table = []
        for number, week in enumerate(WEEKS):
            day = dt.date(2021, 3, 1) + dt.timedelta(days=7 * week + index + number % 2)
            table.append((f"ses-w{week:02d}", day, week, "scheduled"))
            tilt = scanner.rigid(rng.normal(0, 3, 3), rng.normal(0, 4, 3))
            affine = tilt @ scanner.make_grid_affine(site, geometry)
            defect = DEFECTS.get((index, number))
            for contrast in defects.contrasts_of(defect):
                name = f"{label}_{table[-1][0]}_{contrast}"
                path = folder / label / table[-1][0] / "anat" / f"{name}.nii.gz"
                image = rng.integers(0, 1200, geometry.shape).astype(np.int16)
                scanner.write_scan(path, image, affine)
                agent = (
                    ContrastAgent(1.0 + 0.01 * index, 6.0 + week / 4) if contrast == POSTCONTRAST else None
                )
                sidecar = scan_sidecar(site, contrast, geometry.slice_mm, agent)
                write_json(path.with_name(f"{name}.json"), sidecar)
                if defect is Defect.TRUNCATED and contrast == POSTCONTRAST:
                    defects.truncate(path)
        write_sessions(folder / label, table)
    write_raw_dataset(folder, people)
    return folder


def unzipped(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    if not content.startswith(b"PK\3\4"):
        yield name, content
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        yield f"{name}!comment", archive.comment
        for inner in archive.namelist():
            yield from unzipped(f"{name}!{inner}", archive.read(inner))


def inside(content: bytes) -> bytes:
    """What a DICOM file says once it is inflated."""
    if content[128:132] != b"DICM":
        return content
    meta = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).file_meta
    if meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        return content
    start = 144 + int(meta.FileMetaInformationGroupLength)
    return content[:start] + zlib.decompress(content[start:], -zlib.MAX_WBITS)
