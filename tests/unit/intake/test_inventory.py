"""Finding every series of a delivery."""

import io
import os
import random
import resource
import shutil
import zipfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sequence import Sequence as Items

from mesems_mri.intake.dicom.instance import UnusedReason
from mesems_mri.intake.inventory import MAX_FOLDERS_DEEP, Inventory, take_inventory
from tests.unit.intake.scans import CORONAL, FLAIR, PD, T2, header, save, uid, write_enhanced, write_series


def inventory(folder: Path, processes: int | None = None) -> Inventory:
    scratch = folder.with_name(f"{folder.name}-scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    return take_inventory(folder, scratch, processes=processes)


def described(found: Inventory) -> list[tuple[object, ...]]:
    return [(s.series_uid, s.part, s.copy_of, s.instance_uids, s.positions_mm) for s in found.series]


def test_series_are_found_wherever_they_lie(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    write_series(submission / "a" / "b" / "c", "FLAIR", slices=4, series=2)
    write_series(submission / "x", "T1", slices=3, series=1, suffix="")
    write_series(submission / "x", "T2", slices=5, series=3, first=100, suffix=".IMA")
    packed = write_series(tmp_path / "zip", "PD", slices=3, series=4)
    with zipfile.ZipFile(submission / "more.zip", "w") as archive:
        for path in packed:
            archive.write(path, f"pd/{path.name}")
    found = inventory(submission)
    assert [(s.description, s.frames, s.series_number) for s in found.series] == [
        ("T1", 3, 1),
        ("FLAIR", 4, 2),
        ("T2", 5, 3),
        ("PD", 3, 4),
    ]
    assert found.series[3].names[0] == "more.zip!pd/0001.dcm"
    assert found.files == 15
    assert not found.unused_files.lines()


def test_an_archive_alone_is_a_delivery(tmp_path: Path) -> None:
    submission = tmp_path / "sent.bin"
    with zipfile.ZipFile(submission, "w") as archive:
        for path in write_series(tmp_path / "a", "FLAIR", slices=3):
            archive.write(path, path.name)
    assert [s.frames for s in inventory(submission).series] == [3]


def test_slices_are_sorted_by_number_and_place(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    paths = write_series(submission, "FLAIR", slices=6)
    for path, name in zip(paths, "fbdace", strict=True):
        path.rename(submission / name)
    (series,) = inventory(submission).series
    assert series.instance_numbers == (1, 2, 3, 4, 5, 6)
    assert series.positions_mm == (-60.0, -57.0, -54.0, -51.0, -48.0, -45.0)
    assert "".join(series.names) == "fbdace"


def test_links_are_not_followed(tmp_path: Path) -> None:
    submission, outside = tmp_path / "sent", tmp_path / "outside"
    write_series(submission, "FLAIR", slices=3)
    write_series(outside, "T1", slices=3, series=2)
    (submission / "out").symlink_to(outside)
    (submission / "file").symlink_to(outside / "0001.dcm")
    (submission / "round").symlink_to(submission)
    (submission / "broken").symlink_to(tmp_path / "nowhere")
    found = inventory(submission)
    assert [s.description for s in found.series] == ["FLAIR"]
    assert found.unused_files.lines() == ["4 links, which are not followed: broken, file, out and 1 more"]


def test_special_files_and_closed_folders_are_told(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    write_series(submission, "FLAIR", slices=3)
    os.mkfifo(submission / "pipe")
    found = inventory(submission)
    assert found.unused_files.counts == {UnusedReason.SPECIAL: 1}


def test_folders_too_deep_are_told(tmp_path: Path) -> None:
    submission = deep = tmp_path / "sent"
    for _ in range(MAX_FOLDERS_DEEP + 2):
        deep = deep / "d"
    write_series(deep, "FLAIR", slices=3)
    found = inventory(submission)
    assert not found.series
    assert found.unused_files.counts == {UnusedReason.TOO_DEEP: 1}


def test_a_dicomdir_tells_what_is_missing(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    paths = write_series(submission / "IMAGES", "FLAIR", slices=4, suffix="")
    directory = Dataset()
    directory.SOPClassUID, directory.SOPInstanceUID = "1.2.840.10008.1.3.10", uid("dir")
    records = []
    for path in paths:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.ReferencedFileID = ["images", path.name]  # a copied disc changes case
        records.append(record)
    directory.DirectoryRecordSequence = Items(records)
    save(directory, submission / "DICOMDIR")
    assert inventory(submission).unused_files.counts == {UnusedReason.DIRECTORY: 1}
    paths[1].unlink()
    found = inventory(submission)
    assert found.unused_files.counts == {UnusedReason.DIRECTORY: 1, UnusedReason.MISSING: 1}
    assert "1 files that a DICOMDIR lists and that are not there: images/0002" in found.unused_files.lines()


def test_echoes_become_images_of_their_own(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    write_series(submission, "PD T2", slices=4, **PD)
    write_series(submission, "PD T2", slices=4, first=5, **T2)
    first, second = inventory(submission).series
    assert (first.part, second.part) == ("echo 1 of 2 (15 ms)", "echo 2 of 2 (100 ms)")
    assert (first.frames, first.siblings, second.echo_ms) == (4, 8, 100)


def test_echoes_of_an_enhanced_object_become_images_of_their_own(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    submission.mkdir()
    write_enhanced(submission / "1", "PD T2", slices=4, echoes=(15.0, 100.0))
    first, second = inventory(submission).series
    assert (first.frames, second.frames, second.echo_ms) == (4, 4, 100)
    assert first.files == second.files
    timing = second.header.PerFrameFunctionalGroupsSequence[0].MREchoSequence[0]
    assert timing.EffectiveEchoTime == 100


def test_echo_times_that_differ_by_rounding_are_one(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    write_series(submission, "T2", slices=3, **(T2 | {"EchoTime": 99.95}))
    write_series(submission, "T2", slices=3, first=4, **(T2 | {"EchoTime": 100.05}))
    assert [s.frames for s in inventory(submission).series] == [6]


def test_magnitude_and_phase_become_images_of_their_own(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    write_series(submission, "SWI", slices=3, ImageType=["ORIGINAL", "PRIMARY", "M", "ND"])
    write_series(submission, "SWI", slices=3, first=4, ImageType=["ORIGINAL", "PRIMARY", "P", "ND"])
    kinds = [s.part.split("\\")[2] for s in inventory(submission).series]
    assert kinds == ["M", "P"]


def test_a_mixture_of_orientations_stays_one_series(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    write_series(submission, "T2", slices=3, **T2)
    write_series(submission, "T2", slices=3, first=4, orientation=CORONAL, **PD)
    assert [s.frames for s in inventory(submission).series] == [6]


def test_a_second_copy_is_a_series_of_its_own(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    write_series(submission / "a", "FLAIR", slices=3)
    shutil.copytree(submission / "a", submission / "b")
    first, second = inventory(submission).series
    assert (first.frames, first.copy_of, second.frames, second.copy_of) == (3, "", 3, "a/0001.dcm")


def test_large_private_elements_are_not_kept(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    dataset = header(Manufacturer="SIEMENS", **T2)
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x20, "OB", b"sSliceArray.lSize\t = \t35\n" + b"\0" * 200_000)
    block.add_new(0x08, "CS", "small")
    dataset.PixelData = b"\0" * 640
    save(dataset, submission / "1")
    (series,) = inventory(submission).series
    assert series.expected is not None
    assert series.expected.slices == 35
    assert (0x0029, 0x1020) not in series.header
    assert (0x0029, 0x1008) in series.header


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.randoms(use_true_random=False))
def test_names_and_folders_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: random.Random
) -> None:
    submission = tmp_path_factory.mktemp("shuffled") / "sent"
    paths = write_series(submission, "FLAIR", slices=5, **FLAIR) + write_series(
        submission, "T2", slices=4, series=2, first=50, **T2
    )
    expected = described(inventory(submission))
    names = list(range(len(paths)))
    order.shuffle(names)
    for path, name in zip(paths, names, strict=True):
        target = submission / f"d{order.randrange(3)}" / f"{name}{order.choice(['', '.dcm', '.txt'])}"
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    assert described(inventory(submission)) == expected


def copies(folder: Path, count: int, per_series: int) -> None:
    """Write many instances quickly: one file whose UIDs and numbers are replaced in place."""
    dataset = header(SeriesDescription="FLAIR", SeriesInstanceUID="2.25.1000000", **FLAIR)
    dataset.SOPInstanceUID, dataset.InstanceNumber = "2.25.2000000", 10000
    dataset.ImagePositionPatient = [-90.0, -90.0, 70000.5]
    dataset.PixelData = b"\0" * 640
    whole = save(dataset, folder / "first").read_bytes()
    (folder / "first").unlink()
    for number in range(count):
        series, slice_number = divmod(number, per_series)
        content = whole.replace(b"2.25.2000000", f"2.25.{3_000_000 + number}".encode())
        content = content.replace(b"2.25.1000000", f"2.25.{1_000_000 + series}".encode())
        content = content.replace(b"10000 ", f"{10000 + slice_number} ".encode())
        content = content.replace(b"70000.5", f"{70000 + slice_number}.5".encode())
        place = folder / f"{series:03}"
        if not slice_number:
            place.mkdir()
        (place / f"{slice_number}").write_bytes(content)


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def test_five_thousand_instances_in_under_twenty_seconds(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    submission.mkdir()
    copies(submission, 5000, 200)
    before = cpu_seconds()
    found = inventory(submission, processes=2)
    assert [s.frames for s in found.series] == [200] * 25
    # of both processes together, so that what else the machine does is not measured; on two cores it is half
    assert cpu_seconds() - before < 20


def test_several_processes_find_the_same(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    submission.mkdir()
    copies(submission, 500, 100)
    assert described(inventory(submission, processes=2)) == described(inventory(submission, processes=1))


def test_processes_that_die_are_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = tmp_path / "sent"
    submission.mkdir()
    copies(submission, 500, 100)
    expected = described(inventory(submission, processes=1))

    def die(*_: object, **__: object) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(ProcessPoolExecutor, "map", die)
    assert described(inventory(submission, processes=2)) == expected


def test_a_hundred_thousand_other_files_are_one_line(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    write_series(submission / "scan", "FLAIR", slices=3)
    for folder in range(100):
        (submission / f"{folder:03}").mkdir()
        first = submission / f"{folder:03}" / "0.dcm"
        first.write_bytes(b"no scan at all")
        for number in range(1, 1000):
            os.link(first, first.with_name(f"{number}.dcm"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = inventory(submission, processes=1)
    assert [s.frames for s in found.series] == [3]
    (line,) = found.unused_files.lines()
    assert line == "100000 files that are not DICOM: 000/0.dcm, 000/1.dcm, 000/10.dcm and 99997 more"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_thousand_archives_inside_one_stay_in_bounds(tmp_path: Path) -> None:
    submission = tmp_path / "sent"
    submission.mkdir()
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("note.txt", b"nothing")
    with zipfile.ZipFile(submission / "many.zip", "w") as archive:
        for number in range(1000):
            archive.writestr(f"{number}.zip", inner.getvalue())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = inventory(submission)
    assert found.unused_files.counts == {UnusedReason.NOT_DICOM: 1000}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
