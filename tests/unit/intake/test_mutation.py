"""Headers that no scanner has written: whatever is in them, there is a line and no traceback."""

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from mesems_mri.dataset.schedule import SheetRow, read_sheet
from mesems_mri.intake.assess import assess_visit
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.dicom.instance import Instance, UnusedFile, read_instance
from mesems_mri.intake.dicom.series import group_into_series
from mesems_mri.intake.identify import check_identity, group_examinations, match_visit
from mesems_mri.intake.protocol import Protocol, load_protocol
from mesems_mri.intake.visit import AssessedVisit
from tests.nightly import amount
from tests.unit.dataset.test_schedule import ROW, write
from tests.unit.intake.scans import FLAIR, T1, header, pixels, save, write_enhanced

CASES = amount(1_000, 10_000)
ODD_TEXTS = [
    b"\\",
    b"^",
    b"\0",
    b"-",
    b"1e999",
    b"nan",
    b"-1",
    b"99999999999999999999",
    b"\x1b$B",
    b"\xff\xfe",
    b" ",
]


def plain(folder: Path) -> bytes:
    dataset = header(SeriesDescription="T1 post", ContrastBolusAgent="Dotarem", ImagesInAcquisition=4, **T1)
    dataset.PixelData = pixels(16, 20, 1)
    return save(dataset, folder / "plain").read_bytes()


def implicit(folder: Path) -> bytes:
    dataset = header(SeriesDescription="FLAIR", **FLAIR)
    dataset.PixelData = pixels(16, 20, 1)
    return save(dataset, folder / "implicit", ImplicitVRLittleEndian).read_bytes()


def big(folder: Path) -> bytes:
    dataset = header(SeriesDescription="FLAIR", **FLAIR)
    dataset.PixelData = pixels(16, 20, 1)
    dataset["PixelData"].VR = "OW"
    return save(dataset, folder / "big", ExplicitVRBigEndian).read_bytes()


def enhanced(folder: Path) -> bytes:
    return write_enhanced(folder / "enhanced", "T2", slices=3, Rows=2, Columns=2).read_bytes()


def vendor(folder: Path) -> bytes:
    dataset = header(SeriesDescription="t1_mprage", Manufacturer="SIEMENS", **T1)
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x20, "OB", b"sSliceArray.lSize\t = \t35\n")
    dataset.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x18, "SL", 40)
    dataset.PixelData = pixels(16, 20, 1)
    return save(dataset, folder / "vendor").read_bytes()


class Intake:
    """All of an intake that looks at headers."""

    def __init__(self, folder: Path, protocol: Protocol) -> None:
        self.path = folder / "mutated"
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.protocol = protocol
        self.sheet: tuple[SheetRow, ...] = read_sheet(write(folder, ROW))
        self.read = 0

    def take(self, content: bytes) -> Instance | UnusedFile:
        self.path.write_bytes(content)
        found = read_instance(self.path, "mutated", self.scratch)
        if isinstance(found, Instance):
            self.read += 1
            self.assess_visit(found)
        return found

    def assess_visit(self, instance: Instance) -> None:
        for examination in group_examinations(group_into_series([instance])):
            row, problems = match_visit(examination, self.sheet)
            deidentifier = Deidentifier(b"key", "sub-001", -60_000)
            for series in examination.series:
                deidentifier.learn(series.header)
            problems += check_identity(examination, row or self.sheet[0], "", "", "")
            visit = AssessedVisit(examination, row or self.sheet[0], True, "in-1", deidentifier, problems)
            assess_visit(visit, self.protocol, None)
            assert len(visit.classified) == len(examination.series)
            assert all(one.reason for one in visit.classified)
            assert all(query.what for query in visit.queries)


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Intake:
    return Intake(tmp_path_factory.mktemp("intake"), load_protocol(repository / "config" / "protocol.yaml"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("whole")
    return [make(folder) for make in (plain, implicit, big, enhanced, vendor)]


def test_what_is_mutated_is_read_as_it_is(intake: Intake, whole: list[bytes]) -> None:
    for content in whole:
        found = intake.take(content)
        assert isinstance(found, Instance)
        assert not found.damage


def changed(content: bytes, rng: random.Random) -> bytes:
    """Change some bytes of a file: single ones, pieces of text, lengths, or where it ends."""
    array = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        if len(array) < 140:
            break
        at = rng.randint(128, len(array) - 1)
        kind = rng.choice(["byte"] * 6 + ["length", "text"] * 3 + ["drop", "double"] * 2 + ["cut"])
        if kind == "byte":
            array[at] = rng.randint(0, 255)
        elif kind == "length":
            array[at : at + 4] = struct.pack("<I", rng.choice([0, 1, 3, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
        elif kind == "text":
            odd = rng.choice(ODD_TEXTS)
            array[at : at + len(odd)] = odd
        elif kind == "cut":
            del array[at:]
        elif kind == "drop":
            del array[at : at + rng.randint(1, 40)]
        else:
            array[at:at] = array[at : at + 20]
    return bytes(array)


def test_mutated_headers_never_raise(intake: Intake, whole: list[bytes]) -> None:
    @settings(max_examples=CASES, deadline=None, database=None, derandomize=True)
    @given(at=st.integers(0, 4), seed=st.integers(0, 2**48))
    def mutate(at: int, seed: int) -> None:
        # a seed, as thousands of times many draws would take longer than all the reading
        found = intake.take(changed(whole[at], random.Random(seed)))
        assert isinstance(found, Instance | UnusedFile)

    before = intake.read
    mutate()
    # a mutation that only ever destroys the file would test nothing
    assert intake.read - before > CASES / 4
