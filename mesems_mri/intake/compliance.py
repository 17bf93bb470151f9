"""Protocol compliance of a series: every item passes, fails, or is unknown.

A value that the header does not give never passes.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydicom import Dataset

from mesems_mri.intake.dicom.acquisition import (
    Acquisition,
    Scanner,
    read_acquisition,
    read_scanner,
    same_software,
)
from mesems_mri.intake.dicom.encoding import Encoding, read_encoding
from mesems_mri.intake.dicom.geometry import SeriesGeometry
from mesems_mri.intake.protocol import (
    ITEMS,
    CoilRule,
    Protocol,
    Range,
    SequenceRule,
    SliceRule,
)

SCANNER_ITEMS = {"scanner", "software"}
_OF_ONE_VISIT = {"contrast_dose", "injection_delay", "baseline_coverage"}
_ODD = re.compile(r"[,|\s]+")
_ALIKE = 0.05
"""Times and angles of two scans that differ by less are alike: scanners adapt them to the participant."""
_ALIKE_MM = 0.02


class ItemResult(StrEnum):
    """Result of a protocol item."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class ProtocolItem:
    """An item of the protocol at a series.

    Parameters
    ----------
    name : str
        A key of `ITEMS`.
    result : ItemResult
    value : str
        What the header says; empty when it says nothing.
    limit : str
        What the protocol asks for.
    measured : tuple of str or float
        The value without words, and what it is compared with where that is another scan: by these a deviation
        is known again, however it is worded.
    """

    name: str
    result: ItemResult
    value: str
    limit: str
    measured: tuple[str | float, ...] = ()

    @property
    def words(self) -> str:
        """The item in words."""
        return ITEMS[self.name]


def check_series(
    role: str,
    header: Dataset,
    geometry: SeriesGeometry | None,
    protocol: Protocol,
    site_id: str = "",
    reference: Dataset | Scanner | None = None,
    *,
    precontrast: tuple[Dataset, SeriesGeometry | None] | None = None,
    sheet_dose_mmol_kg: float | None = None,
    scrub: Callable[[str], str] = str,
) -> list[ProtocolItem]:
    """Check a series against the protocol.

    Parameters
    ----------
    role : str
        What the series is, e.g. ``FLAIR``.
    header : Dataset
        Of its first instance, classic or enhanced. Scanner and software are compared and shown as they stand
        there, so they must be written like those of `reference`, de-identified.
    geometry : SeriesGeometry or None
        As `describe_geometry` measured it.
    protocol : Protocol
    site_id : str
        Site, for what differs there.
    reference : Dataset or Scanner, optional
        Header or scanner of the participant's first visit; None at the first visit itself.
    precontrast : tuple of (Dataset, SeriesGeometry), optional
        The scan of the same visit before contrast, for a scan after contrast.
    sheet_dose_mmol_kg : float, optional
        Dose that the visit schedule states.
    scrub : callable
        De-identifies the name of the coil.

    Returns
    -------
    list of ProtocolItem
        In the order of `ITEMS`; only what the protocol asks for; none when it does not know the role.
    """
    rule = protocol.rule(role, site_id)
    if rule is None:
        return []
    scan = read_acquisition(header, geometry, protocol.agents)
    encoding = read_encoding(header, geometry)
    items = [
        *_acquisition_items(rule, scan, encoding, scrub),
        *_contrast_items(rule, scan, sheet_dose_mmol_kg),
    ]
    if rule.like:
        before = read_acquisition(*precontrast, protocol.agents) if precontrast else None
        items.append(_like_precontrast(rule.like, scan, before))
    if reference is not None:
        first = reference if isinstance(reference, Scanner) else read_scanner(reference)
        items += _scanner_items(scan.scanner, first)
    return items


def recurring_value(item: ProtocolItem) -> str:
    """Return what tells a deviation from another one of its site: the item, and its value if that recurs.

    Values are rounded, as scanners adapt times to the participant. A dose, a delay and a coverage are those
    of one visit, and say nothing of the next. The words of the item play no part.
    """
    if item.name in _OF_ONE_VISIT or not item.measured:
        return item.name
    digits = 2 if item.name.endswith(("_time", "_angle")) else 3
    told = [
        _ODD.sub(" ", one).strip() if isinstance(one, str) else f"{float(f'{one:.{digits}g}'):g}"
        for one in item.measured
    ]
    return f"{item.name}={'/'.join(told)}"


def _acquisition_items(
    rule: SequenceRule, scan: Acquisition, encoding: Encoding, scrub: Callable[[str], str]
) -> Iterator[ProtocolItem]:
    if rule.field_strength_t:
        yield _range_item("field_strength", rule.field_strength_t, scan.field_strength_t, "T")
    if rule.acquisition:
        right = scan.dimension in rule.acquisition if scan.dimension else None
        limit = " or ".join(rule.acquisition)
        yield ProtocolItem("acquisition", item_result(right), scan.dimension, limit, (scan.dimension,))
    yield from _voxel_items(rule, scan, encoding)
    for name, limits, value in (
        ("echo_time", rule.echo_time_ms, scan.echo_time_ms),
        ("repetition_time", rule.repetition_time_ms, scan.repetition_time_ms),
        ("inversion_time", rule.inversion_time_ms, scan.inversion_time_ms),
    ):
        if limits:
            yield _range_item(name, limits, value, "ms")
    if rule.coil and (rule.coil.any_of or rule.coil.none_of):
        yield _coil_item(rule.coil, scan.coil, scrub)


def _voxel_items(rule: SequenceRule, scan: Acquisition, encoding: Encoding) -> Iterator[ProtocolItem]:
    """Check the voxels by the limits of the kind of acquisition; of all kinds when it is not known."""
    kinds = [scan.dimension] if scan.dimension else sorted(rule.geometry)
    sizes, pixel = _pixel(scan, encoding)
    for name, part, value in (
        ("slice_thickness", "thickness_mm", scan.thickness_mm),
        ("slice_gap", "gap_mm", scan.gap_mm),
        ("in_plane", "in_plane_mm", sizes),
    ):
        limits: dict[str, Range] = {
            kind: limit
            for kind in kinds
            if (limit := getattr(rule.geometry.get(kind, SliceRule()), part)) is not None  # pyright: ignore[reportArgumentType, reportCallIssue]
        }
        if not limits:
            continue
        verdicts = {_range_item(name, limit, value, "mm").result for limit in limits.values()}
        if name == "in_plane" and encoding.interpolated and not encoding.in_plane_mm:
            # an interpolated pixel that is too large was acquired larger still
            verdicts = {ItemResult.UNKNOWN if v is ItemResult.PASS else v for v in verdicts}
        words = {kind: limit.words("mm") for kind, limit in limits.items()}
        same = len(set(words.values())) == 1
        yield ProtocolItem(
            name,
            verdicts.pop() if len(verdicts) == 1 else ItemResult.UNKNOWN,
            (pixel if name == "in_plane" else _number(value, "mm")),
            next(iter(words.values())) if same else ", ".join(f"{k}: {w}" for k, w in words.items()),
            _measured_voxel(name, value, scan, encoding),
        )


def _measured_voxel(
    name: str, value: float | None, scan: Acquisition, encoding: Encoding
) -> tuple[str | float, ...]:
    sides = encoding.in_plane_mm or scan.in_plane_mm
    if name == "in_plane" and sides:
        return ("x".join(f"{side:.3g}" for side in sides),)
    return () if value is None else (value,)


def _pixel(scan: Acquisition, encoding: Encoding) -> tuple[float | None, str]:
    """Return the larger side of a pixel as acquired, and it in words; as reconstructed if that is all."""
    if not scan.in_plane_mm:
        return None, ""
    shown = " x ".join(f"{side:.4g}" for side in scan.in_plane_mm) + " mm"
    if encoding.in_plane_mm and encoding.interpolated:
        acquired = " x ".join(f"{side:.3g}" for side in encoding.in_plane_mm)
        return max(encoding.in_plane_mm), f"{acquired} mm acquired, interpolated to {shown}"
    return max(scan.in_plane_mm), f"{shown}, interpolated" if encoding.interpolated else shown


def _coil_item(rule: CoilRule, coil: str, scrub: Callable[[str], str]) -> ProtocolItem:
    limit = f"one of {', '.join(rule.any_of)}" if rule.any_of else ""
    limit += f"{', ' if limit else ''}not {', '.join(rule.none_of)}" if rule.none_of else ""
    name = coil.casefold()
    wanted = not rule.any_of or any(word.casefold() in name for word in rule.any_of)
    right = wanted and not any(word.casefold() in name for word in rule.none_of)
    name = scrub(coil)
    return ProtocolItem("coil", item_result(right if coil else None), name, limit, (name,))


def _contrast_items(rule: SequenceRule, scan: Acquisition, stated: float | None) -> Iterator[ProtocolItem]:
    if rule.contrast is None:
        return
    asked, bolus = rule.contrast, scan.bolus
    if bolus.agent:
        right = not asked.agents or bolus.agent.name in asked.agents
        name = bolus.agent.name
        yield ProtocolItem("contrast_agent", item_result(right), name, _any_of(asked.agents), (name,))
    else:  # the header's own words are not shown: people write all sorts of things there
        told = "given, but not which" if bolus.said else ""
        given = ("given",) if bolus.said else ()
        yield ProtocolItem("contrast_agent", ItemResult.UNKNOWN, told, _any_of(asked.agents), given)
    if asked.dose_mmol_kg:
        doses = {"header": bolus.dose_mmol_kg, "sheet": stated}
        known = {source: dose for source, dose in doses.items() if dose is not None}
        right = all(asked.dose_mmol_kg.holds(dose) for dose in known.values()) if known else None
        told = ", ".join(f"{dose:.3g} mmol/kg ({source})" for source, dose in known.items())
        yield ProtocolItem("contrast_dose", item_result(right), told, asked.dose_mmol_kg.words("mmol/kg"))
    if asked.delay_min:
        delay = scan.delay_min
        yield _range_item("injection_delay", asked.delay_min, delay, "min", digits=1)


def _like_precontrast(like: str, scan: Acquisition, before: Acquisition | None) -> ProtocolItem:
    """Compare the post-contrast scan with the pre-contrast one: else they differ by more than contrast."""
    limit = f"like {like} of the same visit"
    if before is None:
        return ProtocolItem("like_precontrast", ItemResult.UNKNOWN, "", limit)
    apart, unknown = [], []
    measured: list[str | float] = []
    if not (scan.dimension and before.dimension):
        unknown.append("2D or 3D")
    elif scan.dimension != before.dimension:
        apart.append(f"{scan.dimension} against {before.dimension}")
        measured += [scan.dimension, before.dimension]
    for name, one, two, unit in _paired_parameters(scan, before):
        if one is None or two is None:
            # a sequence without inversion has no inversion time
            if not (name == "TI" and one is two):
                unknown.append(name)
        elif abs(one - two) > (_ALIKE_MM if unit == "mm" else _ALIKE * max(one, two)):
            apart.append(f"{name} {_number(one, unit)} against {_number(two, unit)}")
            measured += [name, one, two]
    if apart:
        return ProtocolItem("like_precontrast", ItemResult.FAIL, ", ".join(apart), limit, tuple(measured))
    if unknown:
        return ProtocolItem("like_precontrast", ItemResult.UNKNOWN, f"not known: {', '.join(unknown)}", limit)
    return ProtocolItem("like_precontrast", ItemResult.PASS, "alike", limit)


def _paired_parameters(
    scan: Acquisition, before: Acquisition
) -> Iterator[tuple[str, float | None, float | None, str]]:
    yield "slice thickness", scan.thickness_mm, before.thickness_mm, "mm"
    yield "gap", scan.gap_mm, before.gap_mm, "mm"
    sizes = [max(s.in_plane_mm) if s.in_plane_mm else None for s in (scan, before)]
    yield "pixel size", sizes[0], sizes[1], "mm"
    yield "TE", scan.echo_time_ms, before.echo_time_ms, "ms"
    yield "TR", scan.repetition_time_ms, before.repetition_time_ms, "ms"
    yield "TI", scan.inversion_time_ms, before.inversion_time_ms, "ms"
    yield "flip angle", scan.flip_angle_deg, before.flip_angle_deg, "degrees"


def _scanner_items(scanner: Scanner, first: Scanner) -> list[ProtocolItem]:
    other, same = scanner.is_other_than(first), same_software(scanner, first)
    return [
        ProtocolItem(
            "scanner",
            item_result(None if other is None else not other),
            scanner.name,
            first.name or "not known",
            (scanner.name,),
        ),
        ProtocolItem(
            "software",
            item_result(same),
            scanner.software,
            first.software or "not known",
            (scanner.software,),
        ),
    ]


def _range_item(
    name: str, limits: Range, value: float | None, unit: str, digits: int | None = None
) -> ProtocolItem:
    right = None if value is None else limits.holds(value)
    measured = () if value is None else (value,)
    return ProtocolItem(name, item_result(right), _number(value, unit, digits), limits.words(unit), measured)


def item_result(right: bool | None) -> ItemResult:
    """Return PASS or FAIL; UNKNOWN where nothing says which."""
    if right is None:
        return ItemResult.UNKNOWN
    return ItemResult.PASS if right else ItemResult.FAIL


def _number(value: float | None, unit: str, digits: int | None = None) -> str:
    if value is None:
        return ""
    return f"{value:.5g} {unit}" if digits is None else f"{value:.{digits}f} {unit}"


def _any_of(agents: Sequence[str]) -> str:
    return " or ".join(agents) or "any, named"
