"""Zip archives that nobody vouches for."""

import io
import stat
import struct
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesems_mri.intake.dicom.archives import ArchiveLimits, unpack
from mesems_mri.intake.dicom.instance import UnusedFile, UnusedReason
from tests.unit.intake.scans import write_series

PREAMBLE = b"\0" * 128 + b"DICM"
WHEN = (2024, 1, 9, 8, 30, 0)
"""When members were written; not now, since the length of an archive inside an archive would vary with it."""
Members = dict[str, bytes]


def pack(members: Members, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, WHEN), content, compression)
    return target.getvalue()


class Place:
    """A folder in which archives are unpacked, and a look at all that was written around it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = folder / "sent" / "a.zip"
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.archive.parent.mkdir()

    def unpack(
        self, content: bytes, limits: ArchiveLimits | None = None
    ) -> tuple[list[str], list[UnusedFile]]:
        self.archive.write_bytes(content)
        scratch = Path(tempfile.mkdtemp(dir=self.scratch))
        taken, refused = unpack(self.archive, "a.zip", scratch, limits or ArchiveLimits())
        assert self.outside() == {"sent", "sent/a.zip", "scratch"}
        assert all(path.is_file() and self.scratch in path.parents for path, _ in taken)
        return [name for _, name in taken], refused

    def outside(self) -> set[str]:
        found = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")}
        return {name for name in found if not name.startswith("scratch/")}

    def written(self) -> int:
        return sum(path.stat().st_size for path in self.scratch.rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_series(tmp_path_factory.mktemp("scan"), slices=1)[0].read_bytes()


def test_members_are_taken_whatever_they_are_called(place: Place, scan: bytes) -> None:
    taken, refused = place.unpack(pack({"a/b/1": scan, "a/b/IM2.xyz": scan, "a/note.txt": b"hello"}))
    assert taken == ["a.zip!a/b/1", "a.zip!a/b/IM2.xyz"]
    assert refused == [UnusedFile("a.zip!a/note.txt", UnusedReason.NOT_DICOM)]
    assert [path.read_bytes() for path in sorted(place.scratch.rglob("0*"))] == [scan, scan]


def test_archives_inside_archives_are_unpacked(place: Place, scan: bytes) -> None:
    inner = pack({"deep/1.dcm": scan})
    taken, refused = place.unpack(pack({"x/inner.bin": inner, "2.dcm": scan}))
    assert taken == ["a.zip!x/inner.bin!deep/1.dcm", "a.zip!2.dcm"]
    assert not refused


@pytest.mark.parametrize(
    "name",
    [
        "../evil.dcm",
        "a/../../evil.dcm",
        "/tmp/evil.dcm",
        "..\\evil.dcm",
        "C:\\evil.dcm",
        "a/..",
        "C:evil.dcm",
    ],
)
def test_a_name_that_leads_out_is_refused(place: Place, scan: bytes, name: str) -> None:
    taken, refused = place.unpack(pack({name: scan, "good.dcm": scan}))
    assert taken == ["a.zip!good.dcm"]
    assert [(one.why, one.detail) for one in refused] == [
        (UnusedReason.MEMBER, "its name leads out of the archive")
    ]


def test_a_link_is_not_made(place: Place, scan: bytes) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        link = zipfile.ZipInfo("link.dcm")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("good.dcm", scan)
    taken, refused = place.unpack(target.getvalue())
    assert taken == ["a.zip!good.dcm"]
    assert refused[0].detail == "a link or special file"


def test_an_encrypted_member_is_told(place: Place, scan: bytes) -> None:
    content = bytearray(pack({"a.dcm": scan}, zipfile.ZIP_STORED))
    at = content.rfind(b"PK\x01\x02")
    content[at + 8] |= 1
    content[6] |= 1
    taken, refused = place.unpack(bytes(content))
    assert (taken, refused[0].detail) == ([], "it is encrypted")


def test_a_bomb_is_refused_by_its_ratio(place: Place) -> None:
    limits = ArchiveLimits(free_bytes=1 << 20)
    bomb = pack({f"{n}.dcm": PREAMBLE + b"\0" * (8 << 20) for n in range(4)})
    taken, refused = place.unpack(bomb, limits)
    assert not taken
    assert refused == [
        UnusedFile(
            "a.zip", UnusedReason.ARCHIVE, "it unpacks to more than 200 times its size, as no images do"
        )
    ]
    assert place.written() == 0
    assert limits.written <= 200 * len(bomb) + (2 << 20)


def test_a_bomb_inside_archives_is_refused(place: Place, scan: bytes) -> None:
    bomb = pack({f"{n}.zip": pack({"x.dcm": PREAMBLE + b"\0" * (4 << 20)}) for n in range(8)})
    taken, refused = place.unpack(
        pack({"good.dcm": scan, "bomb.zip": bomb}), ArchiveLimits(free_bytes=1 << 20)
    )
    assert (taken, len(refused)) == ([], 1)
    assert refused[0].why is UnusedReason.ARCHIVE
    assert place.written() == 0


def test_all_archives_of_a_submission_share_one_bound(place: Place, scan: bytes) -> None:
    limits = ArchiveLimits(total_bytes=3 * len(scan))
    two = pack({"1.dcm": scan, "2.dcm": scan}, zipfile.ZIP_STORED)
    assert len(place.unpack(two, limits)[0]) == 2
    taken, refused = place.unpack(two, limits)
    assert not taken
    assert refused[0].detail.startswith("it unpacks to more than")


def test_a_text_that_inflates_to_gigabytes_is_never_unpacked(place: Place) -> None:
    taken, refused = place.unpack(pack({"zeros.dcm": b"\0" * (64 << 20)}))
    assert (taken, refused[0].why) == ([], UnusedReason.NOT_DICOM)
    assert place.written() == 0


def test_archives_nested_too_deeply_are_refused(place: Place, scan: bytes) -> None:
    content = pack({"1.dcm": scan})
    for _ in range(4):
        content = pack({"in.zip": content})
    taken, refused = place.unpack(content)
    assert (taken, refused[0].detail) == ([], "archives lie more than 3 deep inside each other")


def test_a_list_of_members_too_long_for_memory_is_refused(place: Place, scan: bytes) -> None:
    content = pack({"1.dcm": scan})
    assert place.unpack(content)[0]
    _, refused = place.unpack(content, ArchiveLimits(directory_bytes=20))
    assert "list of members" in refused[0].detail


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_archive_is_told(place: Place, scan: bytes, keep: float) -> None:
    content = b"PK\x03\x04" + pack({f"{n}.dcm": scan for n in range(3)})[4:]
    taken, refused = place.unpack(content[: max(4, int(keep * len(content)))])
    assert not taken
    assert refused[0].why is UnusedReason.ARCHIVE
    assert "cut off" in refused[0].detail


def test_a_damaged_member_refuses_the_archive(place: Place, scan: bytes) -> None:
    content = bytearray(pack({"1.dcm": scan}, zipfile.ZIP_STORED))
    at = content.find(b"DICM") + 300
    content[at] ^= 0xFF
    taken, refused = place.unpack(bytes(content))
    assert not taken
    assert refused == [UnusedFile("a.zip", UnusedReason.ARCHIVE, "it is damaged or cut off (BadZipFile)")]


def test_the_end_of_a_large_archive_is_read(place: Place, scan: bytes) -> None:
    """The list of members of an archive of more than 4 GiB is found through a second record."""
    content = bytearray(pack({"1.dcm": scan}))
    at = content.rfind(b"PK\x05\x06")
    size, offset = struct.unpack("<II", content[at + 12 : at + 20])
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
    end = bytes(content[at : at + 12]) + b"\xff" * 8 + bytes(content[at + 20 :])
    large = bytes(content[:at]) + record + locator + end
    assert place.unpack(large)[0] == ["a.zip!1.dcm"]
    _, refused = place.unpack(large, ArchiveLimits(directory_bytes=20))
    assert "list of members" in refused[0].detail


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mutated_archive_never_raises_and_never_writes_outside(
    tmp_path_factory: pytest.TempPathFactory, scan: bytes, data: st.DataObject
) -> None:
    content = bytearray(pack({"a/1.dcm": scan[:900], "b.zip": pack({"2.dcm": scan[:900]})}))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(4, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    place = Place(tmp_path_factory.mktemp("mutated"))
    place.unpack(bytes(content), ArchiveLimits(total_bytes=1 << 20))


def test_the_mutations_would_be_seen(place: Place, scan: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look around finds a file written outside."""

    def stray(*_: object) -> tuple[list[object], list[object]]:
        (place.folder / "stray").touch()
        return [], []

    monkeypatch.setitem(globals(), "unpack", stray)
    with pytest.raises(AssertionError):
        place.unpack(pack({"1.dcm": scan}))
