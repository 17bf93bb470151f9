"""Intake of every real series: ``python -m benchmarks.intake_real REAL_DATA [--speed]`` prints what came out.

Each folder of ``REAL_DATA/dicom`` is a submission of its own, with a visit schedule made for it. With
``--speed`` the time is measured that the inventory of 5,000 instances takes, copies of real ones with UIDs of
their own.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import pydicom

from mesems_mri.dataset.queries import read_queries
from mesems_mri.dataset.schedule import SHEET_COLUMNS
from mesems_mri.files import write_text
from mesems_mri.intake.context import IntakeRequest
from mesems_mri.intake.dicom.tags import study_day, text
from mesems_mri.intake.flow import Submission, run_intake
from mesems_mri.intake.inventory import take_inventory

_NO_DICOM = (".gz", ".md", "LICENSE")
_INSTANCES = 5000


def cases(real_data: Path) -> list[tuple[str, Path]]:
    """List the folders that hold a series, by their names below ``dicom``."""
    root = real_data / "dicom"
    found = [
        Path(folder) for folder, _, files in os.walk(root) if any(not f.endswith(_NO_DICOM) for f in files)
    ]
    return sorted((folder.relative_to(root).as_posix(), folder) for folder in found)


def intake_case(folder: Path, work: Path, **options: Any) -> tuple[Submission, Path]:
    """Take in a folder as the only visit of a trial made for it; return what came, and the BIDS folder."""
    scratch = work / "scratch"
    scratch.mkdir(parents=True)
    header = take_inventory(folder, scratch).series[0].header
    row = dict.fromkeys(SHEET_COLUMNS, "") | {
        "site_id": "S01",
        "participant_id": "sub-001",
        "dicom_patient_id": text(header, "PatientID"),
        "session_id": "ses-w00",
        "week": "0",
        "planned_date": str(study_day(header)),
    }
    write_text(work / "sheet.tsv", "\t".join(row) + "\n" + "\t".join(row.values()) + "\n")
    bids = work / "bids"
    return run_intake(
        IntakeRequest(submission=folder, bids_dir=bids, sheet=work / "sheet.tsv", **options)
    ), bids


def rows(name: str, folder: Path) -> Iterator[list[str]]:
    """Yield the cells of a row for each series of a folder."""
    with tempfile.TemporaryDirectory() as work:
        submission, bids = intake_case(folder, Path(work))
        codes = [query.code.value for query in read_queries(bids)]
        for visit in submission.visits:
            for one in visit.classified:
                series = one.series
                meta = getattr(pydicom.dcmread(series.files[0], stop_before_pixels=True), "file_meta", None)
                image = visit.images.get(one.role)
                size = " x ".join(map(str, _shape(bids / image))) if image else ""
                yield [
                    f"`{name}`",
                    visit.deidentifier.device(text(series.header, "Manufacturer")),
                    "enhanced" if series.multi_frame else "classic",
                    meta.TransferSyntaxUID.name if meta else "",
                    f"{series.frames}" + (f" of {series.expected.slices}" if series.expected else ""),
                    one.role,
                    visit.deidentified(one.reason),
                    size,
                    ", ".join(codes) or "none",
                ]


def _shape(image: Path) -> tuple[int, ...]:
    return nib.nifti1.Nifti1Image.from_filename(image).shape  # pyright: ignore[reportAttributeAccessIssue]


def table(real_data: Path) -> None:
    """Print the table of all series."""
    head = [
        "submission",
        "vendor",
        "form",
        "transfer syntax",
        "slices",
        "role",
        "reason",
        "image",
        "queries",
    ]
    print(f"| {' | '.join(head)} |")
    print("|---" * len(head) + "|")
    for name, folder in cases(real_data):
        for cells in rows(name, folder):
            print(f"| {' | '.join(cells)} |")


def speed(real_data: Path) -> None:
    """Print how long the inventory of copies of real instances takes."""
    for name in ("siemens_decubitus/HFS/3_t1_fl2d_sag", "ge_mprage/05_3D_Ax_T1_MP_RAGE_R22"):
        files = sorted(p for p in (real_data / "dicom" / name).iterdir() if p.is_file())
        with tempfile.TemporaryDirectory() as work:
            submission, scratch = Path(work) / "sent", Path(work) / "scratch"
            submission.mkdir()
            scratch.mkdir()
            contents = [(path.read_bytes(), pydicom.dcmread(path, stop_before_pixels=True)) for path in files]
            for number in range(_INSTANCES):
                copy, at = divmod(number, len(contents))
                content, header = contents[at]
                for uid in (header.SOPInstanceUID, header.SeriesInstanceUID):
                    other = f"{uid[:-4]}{(copy + int(uid[-4:].replace('.', '1'))) % 10000:04}"
                    content = content.replace(uid.encode(), other.encode())
                (submission / f"{number}").write_bytes(content)
            before, started = _cpu_s(), time.monotonic()
            found = take_inventory(submission, scratch, processes=2)
            took = time.monotonic() - started
            size = sum(path.stat().st_size for path in submission.iterdir()) / 1e6
            print(
                f"{name}: {found.files} instances, {size:.0f} MB, {len(found.series)} series: "
                f"{took:.1f} s with two processes, {_cpu_s() - before:.1f} CPU s in all"
            )


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real_data", type=Path)
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    (speed if options.speed else table)(options.real_data)
