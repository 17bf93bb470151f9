"""Contrast weighting of a series, from its acquisition parameters and from its name."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from mesems_mri.intake.contrast_name import phase_of_name
from mesems_mri.intake.deidentify.vocabulary import WORDS, word_set
from mesems_mri.intake.dicom.geometry import describe_geometry
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.tags import moment, number, quoted, text, words

# Names of the sites, in the languages of the trial's countries. "_" and digits are no border of a word to \b.
_B, _E = r"(?<![a-z])", r"(?![a-z])"


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"{_B}({pattern}){_E}", re.IGNORECASE)


_DOUBLE_INVERSION = re.compile(
    rf"{_B}(dir|psir|mp2rage|stir){_E}|(double|doppel\w*|dual|db|phase.?sens\w*)[ _.-]?i(r|nv\w*){_E}",
    re.IGNORECASE,
)
_T1_FLAIR = re.compile(rf"t1.{{0,12}}(flair|dark.?fl)|(flair|dark.?fl\w*).{{0,12}}t1{_E}", re.IGNORECASE)
_FLAIR = re.compile(rf"flair|dark.?fl|tirm|vista.?fl|space.?fl|t2.{{0,12}}{_B}fl(?![a-z0-9])", re.IGNORECASE)
_T1 = re.compile(
    rf"{_B}t1(?![0-9])|mp.?rage|bravo|{_B}(spgr|fspgr|tfl|tfe|vibe|flash|thrive|lava|mpr3d){_E}",
    re.IGNORECASE,
)
_T2 = re.compile(rf"{_B}t2(?![0-9*]|.?star)", re.IGNORECASE)
_PD = re.compile(rf"{_B}(pd|dp|pdw|rho|proton\w*|dens\w*){_E}", re.IGNORECASE)
_OTHER = _words(
    r"asl|dsc|dce|csi|svs|spectro\w*|t1map|t2map|t1.?mapping|t2.?mapping|myelo\w*|fingerprint\w*|qalas|magic"
)
"""Sequences whose times can be those of an image of the protocol: the name decides."""
_OTHER_GRADIENT = _words(
    r"mra|mrv|tof|angio\w*|swi\w*|swan|venbold|b0|b1|field.?map\w*|qsm|trufi\w*|fiesta\w*|ciss|calib\w*|t2.?star|t2\*|"
    r"hemo|medic|perf\w*|multi.?echo.?gre"
)
"""Sequences of gradient echoes: a spin echo or an inversion of which the times are clear is none of them."""
_OTHER_UNCLEAR = _words(
    r"dti|dwi|diff\w*|ep2d|epi|bold|fmri|rest|resting\w*|pca?|phase|press|steam|magnetis\w*|shim\w*|relax\w*|mapping|"
    r"resolve|asset.?cal\w*|cal"
)
"""Words that can be innocent beside an image of the protocol: they count where nothing else is clear."""
_REFORMAT = _words(r"mpr\w*|reformat\w*|rfmt|recon\w*|ref|rek\w*")
_SPINE = re.compile(
    rf"spine|spinal|cervical|thorac\w*|lumb\w*|{_B}(hws|lws|bws|orbits?|orbita\w*){_E}", re.IGNORECASE
)
_BESIDE_HEAD = _words(r"neck|cord|hals|cou|collo|cuello")
_HEAD = _words(r"brain|head|kopf|schaedel|cranio|cerebr\w*|cerveau|crane|encefalo|hoofd|hersenen")


_NAME_TOKEN = re.compile(r"t[12]\*?|b[01]|mp2rage|[^\W\d_]+")
_STEMS = word_set("""
    t1 t2 t2* b0 b1 flair dark tirm vista space rage mprage bravo dir psir mp2rage stir double doppel dual db
    phase sens inv ir spine spinal cervical thorac lumb hws lws bws orbit neck cord hals cou collo cuello asl
    dsc dce csi svs spectro map mapping myelo fingerprint qalas magic mra mrv tof angio swi swan venbold
    field qsm trufi fiesta ciss calib cal star hemo medic perf multi echo gre dti dwi diff ep epi bold fmri
    rest resting pc pca press steam magnetis shim relax resolve asset pd dp pdw rho proton dens localizer
    localiser loc scout survey aahead plane pilot topogram planscan plan mip subtract reformat screen save
    report smartbrain fl spgr fspgr tfl tfe vibe flash thrive lava mpr
""")
"""What a name can be quoted with: the words of the patterns above and of `mesems_mri.intake.classify`."""
NOT_HEAD = word_set("""
    SPINE CSPINE TSPINE LSPINE CTSPINE TLSPINE LSSPINE CERVICALSPINE NECK HEADNECK CHEST HEART ABDOMEN PELVIS
    SHOULDER KNEE EXTREMITY ORBIT WHOLEBODY
""")


class Weighting(NamedTuple):
    """Weighting by one kind of evidence; the role is empty where that is silent."""

    role: str
    because: str


@dataclass(frozen=True)
class _Timing:
    te: float | None
    tr: float | None
    ti: float | None
    inversion: bool
    gradient: bool
    spin: bool


def weighting_from_name(series: Series) -> Weighting:
    """Return the weighting from the name that the site or the vendor gave the series.

    Returns
    -------
    Weighting
        ``T1w``, ``T2w``, ``PDw``, ``FLAIR``, ``other``, or nothing.
    """
    name = series.description
    for pattern, role in (
        (_SPINE, "other"),
        (_OTHER, "other"),
        (_DOUBLE_INVERSION, "other"),
        (_T1_FLAIR, "T1w"),
        (_FLAIR, "FLAIR"),
    ):
        if found := pattern.search(name):
            return Weighting(role, name_says(found[0]))
    # "PD/T2" or "T1 and T2" names a pair of images: which of them this is only its echo time can say
    found = {
        role: match[0]
        for role, pattern in (("T1w", _T1), ("T2w", _T2), ("PDw", _PD))
        if (match := pattern.search(name))
    }
    if len(found) == 1:
        role, word = next(iter(found.items()))
        return Weighting(role, name_says(word))
    return Weighting("", "")


def other_by_name(series: Series, role: str) -> str:
    """Return the word by which a series is no image of the protocol; empty when there is none.

    Many such words are innocent (``ASSET``, ``restore``, ``PC`` for post-contrast): they count only as far as
    the acquisition parameters do not tell clearly what the series is.

    Parameters
    ----------
    series : Series
    role : str
        By its parameters; empty when they tell none.
    """
    name, timing = series.description, _timing(series)
    plain_gradient = timing.gradient and not timing.spin and not timing.inversion
    if (not role or plain_gradient) and (found := _OTHER_GRADIENT.search(name)):
        return name_says(found[0])
    named = any(pattern.search(name) for pattern in (_FLAIR, _T1, _T2, _PD))
    if (not role or (plain_gradient and not named)) and (found := _OTHER_UNCLEAR.search(name)):
        return name_says(found[0])
    return ""


def not_head(series: Series, role: str, body_parts: Collection[str]) -> tuple[bool, str]:
    """Return whether a series shows another part of the body, and the evidence for it.

    A part of the body is typed at the console, often for the whole examination or that of the coil: alone it
    decides only of a sagittal scan, which a spine is, and only where the examination has other parts too.

    Parameters
    ----------
    series : Series
    role : str
        By parameters and name.
    body_parts : collection of str
        BodyPartExamined of all series of the examination.
    """
    part = body_part(series)
    told = f"BodyPartExamined {quoted(part)}" if part in NOT_HEAD else ""
    if found := _BESIDE_HEAD.search(series.description):
        told = told or name_says(found[0])
    if not told or _HEAD.search(series.description):
        return False, told
    spine = "SPINE" in part and len(set(body_parts)) > 1 and role in ("T1w", "T2w", "PDw")
    return (spine and describe_geometry(series).plane == "sagittal") or not role, told


def body_part(series: Series) -> str:
    """Return BodyPartExamined in capitals."""
    return text(series.header, "BodyPartExamined").upper().replace(" ", "")


def name_says(word: str) -> str:
    """Word what a name says: the stems of the closed list that matched, and nothing else that somebody typed.

    Examples
    --------
    >>> name_says("T1_mueller_Flair"), name_says("diff_mueller")
    ('name says t1 flair', 'name says diff')
    """
    listed = (_listed_stem(token) for token in _NAME_TOKEN.findall(word.lower()))
    return f"name says {' '.join(dict.fromkeys(stem for stem in listed if stem))}"


def _listed_stem(token: str) -> str:
    """Return the longest listed word that a token begins with; short words must be the whole token."""
    if token in _STEMS or token in WORDS:
        return token
    return max((stem for stem in _STEMS if len(stem) > 2 and token.startswith(stem)), key=len, default="")


def weighting_from_parameters(series: Series) -> Weighting:
    """Return the weighting from echo, repetition and inversion time.

    The limits are wide apart, so that nothing near a border is decided: what lies between gets no role.

    Returns
    -------
    Weighting
        ``T1w``, ``T2w``, ``PDw``, ``FLAIR``, ``other``, or nothing.
    """
    header = series.header
    if "EP" in words(header, "ScanningSequence") or text(header, "EchoPlanarPulseSequence").upper() == "YES":
        return Weighting("other", "echo-planar")
    if (number(header, "DiffusionBValue") or 0) > 0:
        return Weighting("other", f"b value {number(header, 'DiffusionBValue'):g}")
    timing = _timing(series)
    times = (("TR", timing.tr), ("TE", timing.te), ("TI", timing.ti))
    said = ", ".join(f"{name} {time:g} ms" for name, time in times if time)
    role = _role_of(timing)
    if role:
        return Weighting(role, said)
    contrast = words(header, "AcquisitionContrast")
    named = {"T1": "T1w", "T2": "T2w", "PROTON_DENSITY": "PDw", "FLUID_ATTENUATED": "FLAIR"}
    for word in contrast:
        if word in named and not (timing.te or timing.tr):
            return Weighting(named[word], f"AcquisitionContrast {word}")
    inverted = timing.inversion and timing.ti is None
    return Weighting(
        "", f"{said}, inversion recovery without an inversion time" if inverted and said else said
    )


def could_be_flair(series: Series) -> bool:
    """Return whether a series has the times of a FLAIR but for an inversion time, which is not told."""
    timing = _timing(series)
    long = timing.te is not None and timing.te >= 60 and (timing.tr is None or timing.tr >= 3500)
    return timing.ti is None and long


def acquired_alike(one: Series, other: Series) -> bool:
    """Return whether two series were acquired with the same sequence on the same grid of slices."""
    a, b = describe_geometry(one), describe_geometry(other)
    kinds = {text(s.header, "MRAcquisitionType") for s in (one, other)}
    spaced = a.spacing_mm is not None and b.spacing_mm is not None and abs(a.spacing_mm - b.spacing_mm) < 0.1
    times = [(s.echo_ms, number(s.header, "RepetitionTime")) for s in (one, other)]
    return (
        a.plane == b.plane
        and len(kinds) == 1
        and spaced
        and all(_near(x, y) for x, y in zip(*times, strict=True))
    )


def timed_alike(one: Series, other: Series) -> bool:
    """Return whether two series have the same echo, repetition and inversion time."""
    times = [
        (s.echo_ms, number(s.header, "RepetitionTime"), number(s.header, "InversionTime"))
        for s in (one, other)
    ]
    return one is other or all(x is y or _near(x, y) for x, y in zip(*times, strict=True))


def is_reformat_of(one: Series, other: Series) -> bool:
    """Return whether a series is a reformat of another one, which is finer.

    That is: the same times and moment of a 3D acquisition, with slices further apart, or in another plane
    where the other has slices as fine as its pixels.
    """
    if {text(s.header, "MRAcquisitionType") for s in (one, other)} != {"3D"} or one is other:
        return False
    times = [(s.echo_ms, number(s.header, "RepetitionTime")) for s in (one, other)]
    began = {moment(s.header) for s in (one, other)}
    phases = {phase_of_name(s.description).phase for s in (one, other)}
    named = _REFORMAT.search(one.description) is not None and len(phases) == 1
    if not all(_near(x, y) for x, y in zip(*times, strict=True)) or not (len(began) == 1 or named):
        return False
    a, b = describe_geometry(one), describe_geometry(other)
    if a.spacing_mm is None or b.spacing_mm is None:
        return False
    coarser = a.spacing_mm > 1.25 * b.spacing_mm
    turned = a.plane != b.plane and a.spacing_mm > 0.99 * b.spacing_mm and (named or coarser)
    return coarser or turned


def _near(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= 0.05 * max(one, other)


def _timing(series: Series) -> _Timing:
    header = series.header
    sequence = words(header, "ScanningSequence")
    pulse = text(header, "EchoPulseSequence").upper()
    inversion = number(header, "InversionTime")
    return _Timing(
        te=series.echo_ms,
        tr=number(header, "RepetitionTime"),
        ti=inversion if inversion and inversion > 0 else None,
        inversion="IR" in sequence or text(header, "InversionRecovery").upper() == "YES" or bool(inversion),
        gradient="GR" in sequence or pulse in ("GRADIENT", "BOTH"),
        spin="SE" in sequence or pulse == "SPIN",
    )


def _role_of(t: _Timing) -> str:
    if t.te is None:
        return ""
    if t.inversion and t.ti is not None:
        if t.ti >= 1400 and t.te >= 60 and (t.tr is None or t.tr >= 3500):
            return "FLAIR"
        if t.ti <= 350 and t.te >= 20:
            return "other"  # fat suppressed by inversion (STIR)
        if 400 <= t.ti <= 1500 and t.te <= 40:
            return "T1w"
        return ""
    if t.inversion and not t.gradient:
        # without its inversion time a FLAIR looks like a T2w, a STIR or a T1w with inversion; only the
        # longest repetition times are those of a FLAIR alone
        return "FLAIR" if t.te >= 80 and t.tr is not None and t.tr >= 6000 else ""
    if t.gradient and not t.spin:
        if t.te <= 8:
            return "T1w" if t.tr is None or t.tr <= 3500 else ""
        return "other" if t.te >= 12 else ""
    if t.tr is None:
        return ""
    if t.tr <= 1000 and t.te <= 40:
        return "T1w"
    if t.tr >= 1800 and t.te >= 60:
        return "T2w"
    if t.tr >= 1800 and t.te <= 45:
        return "PDw"
    return ""
