"""Series map of a site: which series of its examinations is which image of the protocol.

What a site has answered once, or what its dummy run showed, holds at every visit: ``series-map/S03.yaml``
says by name, plane, times and reconstruction which series is meant, for every scanner of the site. It
decides before any list of words, in any language. A series that has changed against it raises one query a
site.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mesems_mri.errors import UsageError
from mesems_mri.files import write_text
from mesems_mri.intake.dicom.acquisition import Scanner, read_scanner
from mesems_mri.intake.dicom.geometry import describe_geometry
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.tags import moment, number, text, words
from mesems_mri.intake.protocol import ImageRole

FOLDER = "series-map"
_PHASED = ("T1w", "ce-gadolinium_T1w")
_ALIKE = 0.05
_ALIKE_MM = 0.1
_TIMES = ("echo_time_ms", "repetition_time_ms", "inversion_time_ms")
_RECONSTRUCTIONS = {
    "NORM",
    "DIS2D",
    "DIS3D",
    "FILTERED",
    "MPR",
    "MIP",
    "W",
    "WATER",
    "FAT",
    "IP",
    "OP",
    "UNI",
    "SUB",
}
"""Values of ImageType that tell reconstructions of one acquisition apart."""


class _MapModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MappedSeries(_MapModel):
    """A series as a site acquires it; what is left out or null is not compared."""

    name: str | None = Field(default=None, description="Series Description, in any case")
    name_key: str | None = Field(
        default=None, description="Keyed hash of the Series Description, where its words may name a person"
    )
    plane: str | None = Field(default=None, description="axial, sagittal or coronal")
    acquisition: str | None = Field(default=None, description="2D or 3D")
    slice_spacing_mm: float | None = Field(default=None, description="Distance of slice centres")
    echo_time_ms: float | None = Field(default=None, description="Echo time")
    repetition_time_ms: float | None = Field(default=None, description="Repetition time")
    inversion_time_ms: float | None = Field(default=None, description="Inversion time")
    reconstruction: tuple[str, ...] | None = Field(
        default=None, description="Values of ImageType that tell reconstructions apart"
    )
    place: int = Field(default=1, ge=1, description="Which one in time, of several that are acquired alike")
    of: int = Field(default=1, ge=1, description="How many of them an examination has")


class MappedScanner(_MapModel):
    """The series of one scanner; a part of the scanner that is left out fits any."""

    manufacturer: str = Field(default="", description="Manufacturer, as de-identified images name it")
    model: str = Field(default="", description="Model")
    serial: str = Field(default="", description="Keyed mark of the serial number")
    series: dict[ImageRole, MappedSeries] = Field(description="By role")


class SeriesMap(_MapModel):
    """The series map of a site."""

    site: str = Field(min_length=1, description="Site")
    scanners: tuple[MappedScanner, ...] = Field(default=(), description="Its scanners")


@dataclass(frozen=True)
class MapDifference:
    """Difference of a series from the map.

    Parameters
    ----------
    role : str
    item : str
        ``name``, ``plane``, ``acquisition``, ``slice_spacing``, ``echo_time``, ...
    before, now : str
        Values without words; of a name its key.
    """

    role: str
    item: str
    before: str
    now: str


@dataclass
class MapMatch:
    """Series that the map names.

    Parameters
    ----------
    roles : dict of Series to str
    differences : list of MapDifference
    """

    roles: dict[Series, str] = field(default_factory=dict)
    differences: list[MapDifference] = field(default_factory=list)


def load_series_map(folder: Path, site_id: str) -> SeriesMap | None:
    """Read the series map of a site; None when it has none.

    Raises
    ------
    UsageError
        If the file cannot be read, or has an unknown key or a value out of range.
    """
    path = map_path(folder, site_id)
    if not site_id or not path.is_file():
        return None
    try:
        found = SeriesMap.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"series map {path} cannot be read ({str(error).splitlines()[0]}); give a YAML file"
        raise UsageError(msg) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        msg = f"series map {path}: {where}: {first['msg']}; see docs/intake.md"
        raise UsageError(msg) from error
    if found.site != site_id:
        msg = f"series map {path}: is of site {found.site}, expected {site_id}; correct the file"
        raise UsageError(msg)
    return found


def map_path(folder: Path, site_id: str) -> Path:
    """Return the path of the series map of a site."""
    safe = "".join(c if c.isalnum() or c in "-_" else f".{ord(c):x}." for c in site_id)
    return folder / f"{safe}.yaml"


def write_series_map(folder: Path, known: SeriesMap | None, site_id: str, learned: MappedScanner) -> Path:
    """Add the series of a scanner to the map of a site; what it says of the same roles is replaced.

    Parameters
    ----------
    folder : Path
    known : SeriesMap or None
        The map so far.
    site_id : str
    learned : MappedScanner

    Returns
    -------
    Path
        The file.
    """
    scanners = list(known.scanners) if known else []
    key = (learned.manufacturer, learned.model, learned.serial)
    for at, old in enumerate(scanners):
        if (old.manufacturer, old.model, old.serial) == key:
            scanners[at] = old.model_copy(update={"series": {**old.series, **learned.series}})
            break
    else:
        scanners.append(learned)
    content = SeriesMap(site=site_id, scanners=tuple(scanners)).model_dump(mode="json", exclude_none=True)
    path = map_path(folder, site_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    head = (
        f"# Series map of site {site_id}: written by mesems-mri intake, may be edited; see docs/intake.md\n"
    )
    write_text(path, head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return path


def describe_series(
    series: Series, alike: Sequence[Series], name_of: Callable[[str], tuple[str, str]]
) -> MappedSeries:
    """Describe a series as the map does.

    Parameters
    ----------
    series : Series
    alike : sequence of Series
        All series of the examination, to count those that are acquired alike.
    name_of : callable
        Returns the name of a series if it can be shown as typed, else an empty text; and its keyed hash.

    Returns
    -------
    MappedSeries
    """
    plain = _measure(series, name_of)
    same = sorted((s for s in alike if not _differences("", plain, s, name_of)), key=_when)
    place = next((at for at, one in enumerate(same, start=1) if one is series), 1)
    return plain.model_copy(update={"place": place, "of": max(len(same), 1)})


def match_series(
    scanner: MappedScanner, series: Sequence[Series], name_of: Callable[[str], tuple[str, str]]
) -> MapMatch:
    """Match the series of an examination with the map.

    A series of which everything fits has the role of the map. One that differs in one respect has it too,
    where no other could be meant, and the difference is told; but a name that has changed never decides
    between before and after contrast agent.

    Parameters
    ----------
    scanner : MappedScanner
    series : sequence of Series
    name_of : callable
        As for `describe_series`.

    Returns
    -------
    MapMatch
    """
    found, left = MapMatch(), dict[str, MappedSeries]()
    sent = [one for one in series if not one.copy_of]
    fitting = {
        role: sorted((s for s in sent if not _differences(role, wanted, s, name_of)), key=_when)
        for role, wanted in scanner.series.items()
    }
    for role, wanted in scanner.series.items():
        exact = fitting[role]
        if not exact:
            left[role] = wanted
        elif len(exact) == wanted.of:
            found.roles[exact[wanted.place - 1]] = role
        elif len(exact) == 1 and not any(
            exact[0] in others for name, others in fitting.items() if name != role
        ):
            found.roles[exact[0]] = role
    known = {one for several in fitting.values() for one in several}
    for role, wanted in left.items():
        apart = {s: _differences(role, wanted, s, name_of) for s in sent if s not in known}
        near = [s for s, items in apart.items() if _is_near(items)]
        if len(near) == 1:
            found.differences += apart[near[0]]
            renamed = any(item.item == "name" for item in apart[near[0]])
            if not (renamed and role in _PHASED):
                found.roles[near[0]] = role
    return found


def scanner_of_map(known: SeriesMap | None, scanner: Scanner) -> MappedScanner | None:
    """Return the part of the map that is about a scanner; None when the map does not know it."""
    for one in known.scanners if known else ():
        pairs = (
            (one.manufacturer, scanner.manufacturer),
            (one.model, scanner.model),
            (one.serial, scanner.serial),
        )
        if all(not wanted or wanted.casefold() == there.casefold() for wanted, there in pairs):
            return one
    return None


def deidentified_scanner(
    series: Series, device: Callable[[str], str], serial: Callable[[str], str]
) -> Scanner:
    """Return the scanner of a series as the map names it."""
    found = read_scanner(series.header)
    return Scanner(
        manufacturer=device(found.manufacturer), model=device(found.model), serial=serial(found.serial)
    )


def _measure(series: Series, name_of: Callable[[str], tuple[str, str]]) -> MappedSeries:
    header, geometry = series.header, describe_geometry(series)
    shown, key = name_of(series.description)
    return MappedSeries(
        name=shown or None,
        name_key=None if shown else key or None,
        plane=geometry.plane or None,
        acquisition=text(header, "MRAcquisitionType") or None,
        slice_spacing_mm=None if geometry.spacing_mm is None else round(geometry.spacing_mm, 2),
        echo_time_ms=_rounded(series.echo_ms),
        repetition_time_ms=_rounded(number(header, "RepetitionTime")),
        inversion_time_ms=_rounded(number(header, "InversionTime")),
        reconstruction=tuple(sorted(set(words(header, "ImageType")) & _RECONSTRUCTIONS)),
    )


def _differences(
    role: str, wanted: MappedSeries, series: Series, name_of: Callable[[str], tuple[str, str]]
) -> list[MapDifference]:
    now = _measure(series, name_of)
    found = []
    key = name_of(series.description)[1]
    named = wanted.name is not None or wanted.name_key is not None
    same_name = _folded(wanted.name) == _folded(series.description) or (wanted.name_key or "") == key
    if named and not same_name:
        found.append(MapDifference(role, "name", wanted.name_key or "", key))
    for item in ("plane", "acquisition"):
        before, value = getattr(wanted, item), getattr(now, item)
        if before is not None and before != value:
            found.append(MapDifference(role, item, before, value or ""))
    if wanted.reconstruction is not None and wanted.reconstruction != now.reconstruction:
        pair = ("+".join(wanted.reconstruction), "+".join(now.reconstruction or ()))
        found.append(MapDifference(role, "reconstruction", *pair))
    for item in ("slice_spacing_mm", *_TIMES):
        before, value = getattr(wanted, item), getattr(now, item)
        slack = _ALIKE_MM if item.endswith("_mm") else _ALIKE * (before or 0)
        if before is not None and (value is None or abs(before - value) > slack):
            name = item.removesuffix("_mm").removesuffix("_ms")
            found.append(MapDifference(role, name, f"{before:g}", "" if value is None else f"{value:g}"))
    return found


def _is_near(items: Sequence[MapDifference]) -> bool:
    """Return whether a series is the one meant, changed: named so, or else the same in all but its name."""
    names = [item for item in items if item.item == "name"]
    return not names or len(items) == len(names)


def _when(series: Series) -> tuple[str, int, str]:
    began = moment(series.header)
    return (began.isoformat() if began else "", series.series_number, series.series_uid)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _folded(name: str | None) -> str | None:
    return None if name is None else " ".join(name.split()).casefold()


def learned_scanner(
    scanner: Scanner,
    roles: Mapping[str, Series],
    examination: Sequence[Series],
    name_of: Callable[[str], tuple[str, str]],
) -> MappedScanner:
    """Return what an examination teaches of the series of its scanner.

    Parameters
    ----------
    scanner : Scanner
        De-identified.
    roles : mapping of str to Series
        The series of each role.
    examination : sequence of Series
        All its series.
    name_of : callable
        As for `describe_series`.

    Returns
    -------
    MappedScanner
    """
    described = {role: describe_series(one, examination, name_of) for role, one in roles.items()}
    return MappedScanner(
        manufacturer=scanner.manufacturer,
        model=scanner.model,
        serial=scanner.serial,
        series=described,  # pyright: ignore[reportArgumentType]
    )
