"""Contrast weighting of a series, from its acquisition parameters and from its name."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from mesems_mri.intake.dicom.geometry import describe_geometry
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.tags import number, quoted, text, words

# Names of the sites, in the languages of the trial's countries. "_" and digits are no border of a word to \b.
_B, _E = r"(?<![a-z])", r"(?![a-z])"
_DOUBLE_INVERSION = re.compile(rf"{_B}(dir|double.?inv\w*|psir|mp2rage|stir){_E}", re.IGNORECASE)
_T1_FLAIR = re.compile(rf"t1.{{0,12}}(flair|dark.?fl)|(flair|dark.?fl\w*).{{0,12}}t1{_E}", re.IGNORECASE)
_FLAIR = re.compile(rf"flair|dark.?fl|tirm|vista.?fl|space.?fl|t2.{{0,12}}{_B}fl(?![a-z0-9])", re.IGNORECASE)
_T1 = re.compile(
    rf"{_B}t1(?![0-9])|mp.?rage|bravo|{_B}(spgr|fspgr|tfl|tfe|vibe|flash|thrive|lava|mpr3d){_E}",
    re.IGNORECASE,
)
_T2 = re.compile(rf"{_B}t2(?![0-9*]|.?star)", re.IGNORECASE)
_PD = re.compile(rf"{_B}(pd|dp|pdw|rho|proton\w*|dens\w*){_E}", re.IGNORECASE)
_OTHER = re.compile(
    rf"{_B}(dti|dwi|diff\w*|ep2d|epi|bold|fmri|rest\w*|perf\w*|dsc|dce|asl|swi\w*|swan|venbold|mra|mrv|tof|angio\w*|"
    rf"pca?|phase|b0|b1|field.?map\w*|fieldmap|qsm|csi|spectro\w*|svs|press|steam|t2.?star|t2\*|hemo|medic|"
    rf"magnetis\w*|trufi|fiesta|ciss|calib\w*|asset|shim\w*|relax\w*|mapping|t1map|t2map|myelo\w*){_E}",
    re.IGNORECASE,
)
_SPINE = re.compile(
    rf"spine|spinal|cervical|thora\w*|lumb\w*|{_B}(hws|lws|bws|orbit\w*|neck|cord){_E}", re.IGNORECASE
)
_NOT_HEAD = {
    *("SPINE", "CSPINE", "TSPINE", "LSPINE", "CERVICALSPINE", "NECK", "CHEST", "ABDOMEN", "KNEE", "ORBIT"),
}


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
            return Weighting(role, f"name says {quoted(found[0])}")
    # "PD/T2" or "T1 and T2" names a pair of images: which of them this is only its echo time can say
    found = {
        role: match[0]
        for role, pattern in (("T1w", _T1), ("T2w", _T2), ("PDw", _PD))
        if (match := pattern.search(name))
    }
    if len(found) == 1:
        role, word = next(iter(found.items()))
        return Weighting(role, f"name says {quoted(word)}")
    return Weighting("", "")


def weighting_from_parameters(series: Series) -> Weighting:
    """Return the weighting from echo, repetition and inversion time.

    The limits are wide apart, so that nothing near a border is decided: what lies between gets no role.

    Returns
    -------
    Weighting
        ``T1w``, ``T2w``, ``PDw``, ``FLAIR``, ``other``, or nothing.
    """
    header = series.header
    part = text(header, "BodyPartExamined").upper().replace(" ", "")
    if part in _NOT_HEAD:
        return Weighting("other", f"BodyPartExamined {quoted(part)}")
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
    return Weighting("", said)


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
