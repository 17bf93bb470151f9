"""No byte that is passed on names a person, whatever element the name stood in; what is harmless stays."""

import datetime as dt
import io
import warnings

import pydicom
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.datadict import DicomDictionary, keyword_for_tag, tag_for_keyword
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import MRImageStorage

from mesems_mri.errors import InputError
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.deidentify.profile import (
    METHODS,
    CleaningRule,
    emptied_attributes,
    retained_attributes,
    table,
)
from tests.identifier_search import Planted, search_text, spellings
from tests.unit.intake.planting import (
    ACCESSION,
    ADDRESS,
    BIRTH_DATE,
    KEY,
    NAME,
    OFFSET,
    PERSON,
    PHYSICIAN,
    mr_header,
    mr_image,
    nested,
    plant,
)

STRUCTURE = {0x00080005, 0x7FE00010}
"""The character set and the pixels: garbage there makes another object, not another value."""
TEXT_TAGS = sorted(
    tag
    for tag, (vr, *_) in DicomDictionary.items()
    if tag >> 16 not in (0x0000, 0x0002, 0xFFFE)
    and tag not in STRUCTURE
    and vr not in ("SQ", "NONE", "OB/OW")
)
SEQUENCES = sorted(
    tag for tag, (vr, *_) in DicomDictionary.items() if vr == "SQ" and tag >> 16 not in (0x0000, 0x0002)
)
KEPT_SEQUENCES = sorted(
    tag for tag, rule in retained_attributes().items() if rule in (CleaningRule.ITEMS, CleaningRule.CODED)
)
VRS = sorted({vr.split(" or ")[0] for vr, *_ in DicomDictionary.values()} - {"SQ", "NONE", "OB/OW"} | {"UN"})


def deidentifier(key: bytes = KEY) -> Deidentifier:
    return Deidentifier(key, "sub-014", OFFSET)


def written(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def read(content: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def cleaned(dataset: Dataset, key: bytes = KEY) -> Dataset:
    """Return what becomes of an object that was written and read again."""
    return read(written(deidentifier(key).dataset(read(written(dataset)))))


# ---------------------------------------------------------------- nothing that identifies a person remains


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("planted", PERSON, ids=lambda planted: planted.text)
def test_no_attribute_of_the_standard_keeps_a_planted_string(planted: Planted, named: bool) -> None:
    # `named`: whether it also stands where it belongs, so that one could know what to look for
    header = mr_header(named=named)
    for tag in TEXT_TAGS:
        plant(header, tag, DicomDictionary[tag][0].split(" or ")[0], planted.text)
    for tag in SEQUENCES:
        item = Dataset()
        plant(item, 0x0008103E, "LO", planted.text)
        plant(item, 0x00080104, "LO", planted.text)
        plant(item, 0x00180050, "DS", planted.text)
        header.add_new(tag, "SQ", Sequence([item]))
    sent = written(header)
    assert search_text(sent, [planted])
    assert not search_text(written(deidentifier().dataset(read(sent))), [planted])


@st.composite
def plants(draw: st.DrawFn) -> tuple[list[int], int, str, str, str, Planted]:
    """Draw where a string is planted (sequences, element, value representation), how, in which encoding."""
    path = draw(st.lists(st.sampled_from(KEPT_SEQUENCES) | st.sampled_from(SEQUENCES), max_size=4))
    tag = draw(
        st.sampled_from(sorted(set(retained_attributes()) - STRUCTURE))
        | st.sampled_from(TEXT_TAGS)
        | st.builds(
            lambda group, element: group << 16 | element, st.just(0x0029), st.integers(0x1000, 0x10FF)
        )
        | st.builds(
            lambda group, element: group << 16 | element, st.just(0x6002), st.sampled_from([0x3000, 0x4000])
        )
        | st.builds(
            lambda group, element: group << 16 | element, st.just(0x5004), st.sampled_from([0x3000, 0x40])
        )
        | st.just(0xFFFCFFFC)
    )
    known = DicomDictionary.get(tag)
    usual = (
        st.sampled_from(known[0].split(" or ")) if known and known[0] not in ("SQ", "NONE") else st.just("UN")
    )
    vr = draw(usual | st.sampled_from(VRS))
    planted = draw(st.sampled_from(PERSON))
    spelling = draw(st.sampled_from(sorted(spellings(planted))))
    spelling = draw(st.sampled_from([str, str.upper, str.lower, str.title]))(spelling)
    around = st.sampled_from(
        ["", "t1_tra_", "post ", "12", "1.2.840.", "Dr. ", "\\", "\r\n", " for Mr ", "T1"]
    )
    encoding = draw(st.sampled_from(["utf-8", "latin-1", "utf-16-le"]))
    return path, tag, vr, draw(around) + spelling + draw(around), encoding, planted


def sent_with(all_planted: list[tuple[list[int], int, str, str, str, Planted]], *, named: bool) -> bytes:
    image = mr_image(named=named)
    for path, tag, vr, text, encoding, _ in all_planted:
        plant(nested(image, path), tag, vr, text, encoding=encoding)
        if tag >> 16 == 0x0029:
            plant(nested(image, path), 0x00290010, "LO", f"{text} HEADER")
    return written(image)


@settings(max_examples=200, deadline=None)
@given(st.lists(plants(), min_size=1, max_size=6), st.booleans())
@example([([], 0x00181020, "LO", "syngo MR Zwiebelhuber", "utf-8", PERSON[0])], False)
@example([([], 0x00181310, "US", NAME, "utf-8", PERSON[0])], False)
@example([([], 0x00189087, "FD", NAME, "utf-8", PERSON[0])], False)
@example([([], 0x0020000E, "UI", "1.2.19610412", "utf-8", PERSON[1])], True)
def test_no_element_keeps_a_planted_string(
    all_planted: list[tuple[list[int], int, str, str, str, Planted]], named: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            sent = sent_with(all_planted, named=named)
        except Exception:  # some elements cannot be written; pydicom raises what its parts raise
            assume(False)
            raise
        received = read(sent)
    # what was planted over by the next is not in the input, nor text where a sequence belongs
    planted = {hit.planted for hit in search_text(sent, [planted for *_, planted in all_planted])}
    assume(planted)
    work = deidentifier()
    try:
        passed_on = written(work.dataset(received))
    except InputError as error:  # what the size of the pixels is read from was planted over
        passed_on = str(error).encode()
    assert not search_text(passed_on, PERSON)
    # also what our own messages would say of it, once the usual elements have told the name
    if named:
        said = work.scrub(" ".join(text for _, _, _, text, encoding, _ in all_planted if encoding == "utf-8"))
        assert not search_text(said, PERSON)


def test_preamble_file_meta_and_trailing_bytes_are_left_behind() -> None:
    image = mr_image(named=False)
    image.preamble = b"II*\0" + NAME.encode().ljust(124)
    image.file_meta.SourceApplicationEntityTitle = NAME
    image.file_meta.SendingApplicationEntityTitle = NAME
    image.file_meta.ImplementationVersionName = NAME[:16]
    image.file_meta.PrivateInformationCreatorUID = "1.2.3"
    image.file_meta.PrivateInformation = NAME.encode()
    image.PixelData += PHYSICIAN.encode()
    sent = written(image) + ACCESSION.encode()
    assert {hit.planted for hit in search_text(sent, PERSON)} == {NAME, PHYSICIAN, ACCESSION}
    back = written(deidentifier().dataset(read(sent)))
    assert not search_text(back, PERSON)
    assert back[:128] == bytes(128)
    assert read(back).PixelData == mr_image().PixelData


def test_overlays_curves_and_private_attributes_go() -> None:
    image = mr_image()
    private = [(0x6000, 0x3000), (0x601E, 0x4000), (0x5002, 0x2500), (0x0029, 0x0010), (0x0029, 0x1010)]
    for tag in private:
        plant(image, Tag(tag), "LO", "harmless")
    left = cleaned(image)
    assert not [tag for tag in private if tag in left]
    assert not [element for element in left.iterall() if element.tag.is_private]


def test_damaged_elements_go_and_nothing_stops() -> None:
    image = mr_image()
    plant(image, 0x00180050, "DS", "3 mm by Zwiebelhuber")
    plant(image, 0x00280030, "DS", "nan\\inf")
    plant(image, 0x00200032, "DS", "1_000\\2\\3")
    plant(image, 0x00181310, "US", "odd")
    plant(image, 0x00280006, "US", "\0\1\0\1")
    plant(image, 0x00082112, "SQ", "no sequence at all!!")
    left = deidentifier().dataset(image)
    for keyword in (
        "SliceThickness",
        "PixelSpacing",
        "ImagePositionPatient",
        "AcquisitionMatrix",
        "PlanarConfiguration",
    ):
        assert keyword not in left
    assert left.EchoTime == 12.5


# ---------------------------------------------------------------- what is harmless stays


def test_harmless_values_stay_as_they_are() -> None:
    image, left = mr_image(), cleaned(mr_image())
    changed = {
        "InstitutionName",
        *("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
        *("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "ReferencedImageSequence"),
        *("DeviceSerialNumber", "StationName"),
    }
    for element in image:
        if element.tag >> 16 != 0x0010 and element.keyword not in changed | {"AccessionNumber"}:
            if element.keyword == "ReferringPhysicianName":
                continue
            assert left[element.tag].value == element.value, element
    assert left.SOPClassUID == MRImageStorage


def test_person_is_replaced_by_the_participant() -> None:
    left = cleaned(mr_image())
    assert (left.PatientName, left.PatientID) == ("sub-014", "sub-014")
    for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName", "StudyID"):
        assert left[keyword].is_empty
    for keyword in ("PatientAge", "PatientWeight", "PatientAddress"):
        assert keyword not in left


def test_method_is_stated() -> None:
    left = cleaned(mr_image())
    assert left.PatientIdentityRemoved == "YES"
    assert left.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [
        (item.CodingSchemeDesignator, item.CodeValue) for item in left.DeidentificationMethodCodeSequence
    ]
    assert codes == [("DCM", code) for code, _ in METHODS]
    assert all(len(text) <= 64 for text in left.DeidentificationMethod)


def test_functional_groups_of_an_enhanced_object_stay() -> None:
    image = mr_image()
    plant(
        nested(image, [tag_for_keyword("SharedFunctionalGroupsSequence") or 0, 0x00189114]),
        0x00189082,
        "FD",
        "",
    )
    shared = image.SharedFunctionalGroupsSequence[0]
    shared.MREchoSequence[0].EffectiveEchoTime = 92.5
    frame = Dataset()
    frame.PlanePositionSequence = Sequence([Dataset()])
    frame.PlanePositionSequence[0].ImagePositionPatient = ["1", "2.5", "-3"]
    frame.FrameContentSequence = Sequence([Dataset()])
    frame.FrameContentSequence[0].DimensionIndexValues = [1, 12]
    frame.FrameContentSequence[0].FrameAcquisitionDateTime = "20120304101112.5+0100"
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "T-A0100", "SRT", "of Zwiebelhuber"
    frame.AnatomicRegionSequence = Sequence([region])
    image.PerFrameFunctionalGroupsSequence = Sequence([frame])
    left = cleaned(image)
    assert left.SharedFunctionalGroupsSequence[0].MREchoSequence[0].EffectiveEchoTime == 92.5
    group = left.PerFrameFunctionalGroupsSequence[0]
    assert list(group.PlanePositionSequence[0].ImagePositionPatient) == [1, 2.5, -3]
    assert list(group.FrameContentSequence[0].DimensionIndexValues) == [1, 12]
    assert group.FrameContentSequence[0].FrameAcquisitionDateTime == "18581107101112.5"
    assert group.AnatomicRegionSequence[0].CodeMeaning == "Brain"


# ---------------------------------------------------------------- the profile of the standard


def test_what_is_kept_agrees_with_the_table_of_the_standard() -> None:
    for tag, rule in retained_attributes().items():
        row = table().get(f"{tag >> 16:04x},{tag & 0xFFFF:04x}")
        if row is None:
            continue
        allowed = {
            CleaningRule.UID: row["basic"] == "U",
            CleaningRule.ITEMS: row["basic"] == "X/Z/U*",
            CleaningRule.DATE: row["dates"] == "C",
            CleaningRule.TIME: row["dates"] == "C",
            CleaningRule.WORDS: row["descriptors"] == "C",
            CleaningRule.SERIAL: row["device"] == "K",
        }
        assert allowed.get(rule, False), (keyword_for_tag(tag), rule, row)


def test_no_attribute_of_the_table_keeps_its_value() -> None:
    image = mr_image()
    expected = {}
    for name, row in table().items():
        tag = int(name.replace("x", "0").replace(",", ""), 16)
        vr = DicomDictionary[tag][0].split(" or ")[0] if tag in DicomDictionary else "LO"
        if tag >> 16 in (0x0000, 0x0002, 0x5000) or vr in ("SQ", "OB", "OW", "UN"):
            continue
        value = {"DA": "20110203", "DT": "20110203101112", "TM": "101112", "UI": "1.2.3.4"}.get(vr, "value")
        plant(image, tag, vr, value)
        expected[tag] = (row, value)
    assert len(expected) > 500
    left = cleaned(image)
    ours = {tag_for_keyword(k) for k in ("PatientName", "PatientID", "DeidentificationMethod")}
    for tag, (row, value) in expected.items():
        if tag in ours:
            continue
        if tag not in left:
            assert "X" in row["basic"] or tag not in emptied_attributes()
        elif (
            row["dates"] == "C"
            and tag in retained_attributes()
            and retained_attributes()[tag] is CleaningRule.TIME
        ):
            assert left[tag].value == value
        else:
            assert str(left[tag].value or "").strip("\0 ") != value, keyword_for_tag(tag)


@pytest.mark.parametrize(
    ("keyword", "vrs"), [("SliceThickness", "US"), ("Manufacturer", "UT"), ("Rows", "LO")]
)
def test_element_of_another_kind_than_its_own_goes(keyword: str, vrs: str) -> None:
    header = mr_header()
    plant(header, tag_for_keyword(keyword) or 0, vrs, "12")
    assert keyword not in deidentifier().dataset(header)


# ---------------------------------------------------------------- UIDs, dates, repetition


def test_same_input_gives_the_same_bytes_and_another_key_others() -> None:
    first, again = (written(deidentifier().dataset(mr_image())) for _ in range(2))
    assert first == again
    other = read(written(deidentifier(b"another key").dataset(mr_image())))
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "DeviceSerialNumber"):
        assert other[keyword].value != read(first)[keyword].value


def test_uids_stay_consistent() -> None:
    one, two = cleaned(mr_image(1)), cleaned(mr_image(2))
    assert one.SeriesInstanceUID == two.SeriesInstanceUID != mr_image().SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.ReferencedImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
    assert one.ReferencedImageSequence[0].ReferencedSOPClassUID == MRImageStorage


@given(st.from_regex(r"[1-9]{1,3}(\.(0|[1-9][0-9]{0,9})){1,5}", fullmatch=True))
def test_uid_is_replaced_by_a_valid_one(uid: str) -> None:
    new = deidentifier().uid(uid)
    assert new.startswith("2.25.")
    assert len(new) <= 64
    assert pydicom.uid.UID(new).is_valid
    assert new == Deidentifier(KEY, "sub-002", -60_000).uid(uid)
    assert new != deidentifier(b"other").uid(uid)


def test_uids_of_the_standard_stay() -> None:
    for uid in ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.4.90", ""):
        assert deidentifier().uid(uid) == uid
    # below the root of the standard, but not of it
    assert deidentifier().uid("1.2.840.10008.19610412").startswith("2.25.")


@given(
    st.dates(dt.date(1925, 1, 1), dt.date(2075, 12, 31)), st.dates(dt.date(1925, 1, 1), dt.date(2075, 12, 31))
)
def test_intervals_between_dates_stay(first: dt.date, second: dt.date) -> None:
    work = deidentifier()
    new = [dt.date.fromisoformat(work.date(day.isoformat())) for day in (first, second)]
    assert new[1] - new[0] == second - first
    assert max(new) < dt.date(1925, 1, 1)
    assert work.date(f"{first:%Y%m%d}") == f"{new[0]:%Y%m%d}".zfill(8)


@pytest.mark.parametrize(
    ("date", "shifted"),
    [
        ("20120304", "18581107"),
        ("2012.03.04", "1858.11.07"),
        ("2012-03-04", "1858-11-07"),
        ("2012-03-04T10:11:12", "1858-11-07T10:11:12"),
        ("20120304101112.123456", "18581107101112.123456"),
        ("20120304101112-0500", "18581107101112"),
        ("", ""),
        ("2012", ""),
        ("20121345", ""),
        ("20120304 Zwiebelhuber", ""),
        ("18581107", ""),
        ("00010101", ""),
    ],
)
def test_dates_keep_their_form(date: str, shifted: str) -> None:
    assert deidentifier().date(date) == shifted


def test_an_offset_that_hides_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Deidentifier(KEY, "sub-014", 0)


# ---------------------------------------------------------------- texts


def learned() -> Deidentifier:
    work = deidentifier()
    work.learn(mr_header())
    return work


def test_names_of_a_header_are_gathered() -> None:
    assert {NAME, BIRTH_DATE, ADDRESS, ACCESSION, PHYSICIAN} <= learned().names


@pytest.mark.parametrize("planted", PERSON, ids=lambda planted: planted.text)
def test_scrub_removes_every_spelling(planted: Planted) -> None:
    work = learned()
    for spelling in spellings(planted):
        for text in (
            spelling,
            spelling.upper(),
            spelling.lower(),
            f"x{spelling}y",
            f"T1_{spelling}.dcm",
            f"T1{spelling}",
        ):
            scrubbed = work.scrub(f"cannot read {text}: cut off")
            assert not search_text(scrubbed, PERSON), (text, scrubbed)
            assert work.scrub(scrubbed) == scrubbed
            assert "cannot read" in scrubbed


@pytest.mark.parametrize("header", ["Müller", "Mueller", "MULLER", "Müller".encode().decode("latin-1")])
@pytest.mark.parametrize("text", ["Müller", "MÜLLER", "muller"])
def test_scrub_finds_a_name_with_other_accents(header: str, text: str) -> None:
    work = deidentifier()
    work.learn_text(header)
    assert work.scrub(f"of {text} here") == "of [---] here"


@pytest.mark.parametrize(
    "text",
    [
        "sub-014/ses-w12 FLAIR: 3 of 24 slices are missing; send the series again",
        "medieval Evaluation, 12 of 1961 files, version v1.0.20260724",
        "1858-11-07 lies outside of 1858-11-20 to 1858-11-27",
    ],
)
def test_scrub_leaves_other_text_alone(text: str) -> None:
    work = learned()
    work.learn_text("Eva^Ada")
    assert work.scrub(text) == text


def test_scrub_shifts_dates_and_replaces_uids_and_mail_addresses() -> None:
    work = learned()
    uid = mr_header().SeriesInstanceUID
    scrubbed = work.scrub(f"{uid} of 2012-03-04 (20120304), ask k.z@clinic.example.org")
    assert scrubbed == f"{work.uid(uid)} of 1858-11-07 (18581107), ask [---]"


def test_labels_of_the_trial_are_no_names() -> None:
    work = Deidentifier(KEY, "sub-014", OFFSET, allowed_words=["Genua", "Triotimax 67060"])
    header = mr_header()
    header.PatientID, header.PatientName = "014", "Genua^sub-014"
    header.DeviceSerialNumber, header.ManufacturerModelName = "Triotimax 67060", "Triotimax"
    left = work.dataset(header)
    assert work.scrub("sub-014 of Genua") == "sub-014 of Genua"
    assert (left.DeviceSerialNumber, left.ManufacturerModelName) == ("Triotimax 67060", "Triotimax")


@pytest.mark.parametrize(
    ("typed", "kept_words"),
    [
        ("t1_mprage_sag_p2_iso 1.0mm", "t1_mprage_sag_p2_iso 1.0mm"),
        ("t2_spc_da-fl_sag", "t2_spc_da-fl_sag"),
        ("Zwiebelhuber T2 FLAIR post", "T2 FLAIR post"),
        ("K. Zwiebelhuber", ""),
        ("t2 tse tra 12.04.1961", "t2 tse tra"),
        ("t2 tse tra 12 04 61", "t2 tse tra"),
        ("FLAIR ACX-4829917", "FLAIR"),
        ("3D T1 (post Gd) 256x256", "3D T1 (post Gd) 256x256"),
        ("MüllerT1", ""),
        ("BrainZwiebelhuber", ""),
        ("HeadNeck", "HeadNeck"),
        ("0170 555 12", ""),
    ],
)
def test_descriptions_are_reduced_to_harmless_words(typed: str, kept_words: str) -> None:
    assert deidentifier().words(typed) == kept_words


def test_a_harmless_word_that_is_the_name_goes() -> None:
    work = deidentifier()
    header = mr_header()
    header.PatientName, header.SeriesDescription = "Star^Anna", "T2 star tra"
    assert work.dataset(header).SeriesDescription == "T2 tra"


def test_change_of_a_device_shows_though_its_name_is_lost() -> None:
    work = deidentifier()
    assert work.device("syngo MR E11") == "syngo MR E11"
    assert work.device("28\\LX\\MR29.1_EA_2039.g") == "28\\LX\\MR29.1_EA_2039.g"
    one, other = work.device("Prisma Zwiebelhuber 1"), work.device("Prisma Zwiebelhuber 2")
    assert one.startswith("Prisma 1 ~")
    assert one != other
    assert one == Deidentifier(KEY, "sub-002", -60_000).device("Prisma Zwiebelhuber 1")
    assert (
        work.serial("67060") == Deidentifier(KEY, "sub-002", -60_000).serial("67060") != work.serial("67061")
    )


@pytest.mark.parametrize("number", ["3", "-12.25", "1e-3", "99999", "0.9375", "+4"])
def test_measures_are_numbers(number: str) -> None:
    assert deidentifier().number(number) == number


@pytest.mark.parametrize("number", ["19610412", "100000", "1_0", "nan", "inf", "", "3 mm", "4829917.0"])
def test_record_numbers_are_no_measures(number: str) -> None:
    assert deidentifier().number(number) == ""


def test_birth_date_is_recognised_and_not_told() -> None:
    work = deidentifier()
    known = work.birth_hash(BIRTH_DATE)
    assert known == work.birth_hash("1961-04-12") != work.birth_hash("19610413")
    assert known != deidentifier(b"other").birth_hash(BIRTH_DATE)
    assert known != Deidentifier(KEY, "sub-002", OFFSET).birth_hash(BIRTH_DATE)
    assert not search_text(known, PERSON)
    assert work.birth_hash("") == ""


def test_secret_is_not_printed() -> None:
    assert str(KEY) not in repr(deidentifier())
