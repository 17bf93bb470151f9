"""An examination in the order of time: what is scanned when, and when the contrast agent is given."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.simulate.dicom import geometry
from mesems_mri.simulate.dicom.conventions import SiteConventions
from mesems_mri.simulate.dicom.geometry import Planes

DUAL_ECHO = ("PDw", "T2w")
_SECONDS = {"T1w": (225, 312), "T2w": (180, 230), "PDw": (180, 230), "FLAIR": (255, 302)}
"""Duration of a 2D and a 3D scan of each contrast."""
_PAUSE = 25
_MAX_MPR = 24


@dataclass(frozen=True, eq=False)
class SimulatedScan:
    """An image of the simulated trial with what its sidecar says."""

    contrast: str
    image: str
    planes: Planes
    repetition_ms: float
    echo_ms: float
    inversion_ms: float
    flip_deg: float


@dataclass(frozen=True, eq=False)
class Injection:
    """The contrast agent as given: moment, dose and volume."""

    moment: dt.datetime
    mmol_kg: float
    volume_ml: float


@dataclass(frozen=True, eq=False)
class SimulatedSeries:
    """A series of a simulated examination.

    Parameters
    ----------
    kind : str
        As in `manifest.SeriesTruth`.
    scans : tuple of SimulatedScan
        What it shows, one for each echo; several orientations for a localizer.
    chosen : bool
        Whether it is the one to take.
    description : str
    number : int
        Of the series.
    start : datetime
    seconds : float
        How long it took.
    bolus : Injection or None
        What had been given before.
    """

    kind: str
    scans: tuple[SimulatedScan, ...]
    chosen: bool
    description: str
    number: int = 0
    start: dt.datetime = dt.datetime.min
    seconds: float = 0.0
    bolus: Injection | None = None

    @property
    def main(self) -> SimulatedScan:
        """The first of its images."""
        return self.scans[0]

    @property
    def contrast(self) -> str:
        """The contrast without the agent."""
        return self.main.contrast.removeprefix("ce-gadolinium_")

    @property
    def three_d(self) -> bool:
        """Return whether it is a 3D sequence."""
        return self.kind != "localizer" and self.main.planes.three_d

    @property
    def derived(self) -> bool:
        """Return whether it was computed from another."""
        return self.kind in ("mpr", "subtraction")

    @property
    def slices(self) -> int:
        """Slices of all its images."""
        return sum(len(scan.planes.pixels) for scan in self.scans)

    @property
    def announced(self) -> int:
        """Slices that it should have."""
        return sum(scan.planes.complete for scan in self.scans)

    def times(self) -> list[dt.datetime]:
        """Return the acquisition time of each slice of an image: a 2D sequence is interleaved."""
        number = self.main.planes.complete
        if self.three_d or self.derived:
            return [self.start] * number
        order = [*range(0, number, 2), *range(1, number, 2)]
        step = min(self.seconds, self.main.repetition_ms / 1000) / number
        return [self.start + dt.timedelta(seconds=step * order.index(k)) for k in range(number)]


@dataclass(frozen=True)
class Irregularities:
    """Irregularities of the examination at a visit.

    Parameters
    ----------
    aborted, moved : str
        Contrast of a scan that was broken off, or spoilt by movement, and then repeated; empty for none.
    derived : str
        What the console computed and the site sends too: ``mpr`` or ``subtraction``; empty for nothing.
    second : str
        Contrast that the site scans a second time, some minutes later, without giving it another name.
    """

    aborted: str = ""
    moved: str = ""
    derived: str = ""
    second: str = ""


@dataclass(eq=False)
class SimulatedExamination:
    """All series of a visit in the order of time, and the bolus."""

    start: dt.datetime
    series: list[SimulatedSeries] = field(default_factory=list)
    bolus: Injection | None = None


def order_examination(
    scans: dict[str, SimulatedScan],
    conventions: SiteConventions,
    irregularities: Irregularities,
    start: dt.datetime,
    *,
    injected: tuple[float, float] | None,
    weight_kg: float,
) -> SimulatedExamination:
    """Put the scans of a visit in order.

    The T2-weighted scans are made while the contrast agent spreads, as far as there is time for them.

    Parameters
    ----------
    scans : dict of str to SimulatedScan
        By contrast.
    conventions : SiteConventions
    irregularities : Irregularities
    start : datetime
        When the patient lies down.
    injected : tuple of float or None
        Dose in mmol/kg, and minutes from the injection to the scan after it.
    weight_kg : float
    """
    exam = SimulatedExamination(start)
    names = conventions.descriptions
    clock = start + dt.timedelta(seconds=70)

    def add(series: Iterable[SimulatedSeries], at: dt.datetime) -> dt.datetime:
        for one in series:
            number = len(exam.series) + 1
            number = 100 * number + 1 if conventions.manner == "philips" else number
            exam.series.append(replace(one, number=number, start=at, bolus=exam.bolus))
            at += dt.timedelta(seconds=one.seconds + _PAUSE)
        return at

    clock = add([_localizer(scans["T1w"], names["localizer"])], clock)
    t2_type = [
        a for c in ("T2w", "FLAIR") if c in scans for a in _acquisitions(scans, c, names, irregularities)
    ]
    clock = add(_acquisitions(scans, "T1w", names, irregularities), clock)
    if injected is None:
        add(t2_type, clock)
        return exam
    mmol_kg, delay_min = injected
    early, late = _around_injection(t2_type, 60 * delay_min)
    clock = add(early, clock)
    volume = round(mmol_kg * weight_kg / conventions.agent_mmol_ml, 1)
    exam.bolus = Injection(clock, mmol_kg, volume)
    add(late, clock)
    clock += dt.timedelta(seconds=round(60 * delay_min))
    clock = add(_acquisitions(scans, POSTCONTRAST, names, irregularities), clock)
    if irregularities.derived:
        derived = _derive(scans, irregularities.derived, names[irregularities.derived])
        add([derived], clock + dt.timedelta(seconds=40))
    return exam


def _around_injection(
    series: list[SimulatedSeries], delay_s: float
) -> tuple[list[SimulatedSeries], list[SimulatedSeries]]:
    """Divide series into those before the injection, and the last ones, for which the delay has room."""
    early, late = list(series), list[SimulatedSeries]()
    while early and sum(a.seconds + _PAUSE for a in [early[-1], *late]) <= delay_s:
        late.insert(0, early.pop())
    return early, late


def _acquisitions(
    scans: dict[str, SimulatedScan], contrast: str, names: dict[str, str], irregularities: Irregularities
) -> list[SimulatedSeries]:
    """Return the series of a contrast: one, or what went wrong and its repetition."""
    echoes = [scans[contrast]]
    name = names[contrast]
    if contrast == "T2w" and "PDw" in scans:
        echoes = [scans[c] for c in DUAL_ECHO]
        name = names["PDw"]
    key = contrast.removeprefix("ce-gadolinium_")
    seconds = float(_SECONDS[key][echoes[0].planes.three_d])
    whole = SimulatedSeries("scan", tuple(echoes), True, name, seconds=seconds)
    if contrast == irregularities.aborted:
        share = 0.4
        parts = tuple(replace(s, planes=s.planes.only(int(s.planes.complete * share))) for s in echoes)
        return [SimulatedSeries("aborted", parts, False, name, seconds=seconds * share), whole]
    if contrast == irregularities.moved:
        bad = tuple(replace(s, planes=geometry.moved(s.planes)) for s in echoes)
        return [
            SimulatedSeries("moved", bad, False, name, seconds=seconds),
            replace(whole, description=f"{name} RPT"),
        ]
    if contrast == irregularities.second:
        later = tuple(replace(s, planes=geometry.again(s.planes), image="") for s in echoes)
        return [whole, SimulatedSeries("second", later, False, name, seconds=seconds)]
    return [whole]


def _localizer(scan: SimulatedScan, name: str) -> SimulatedSeries:
    planes = geometry.localizers(scan.planes)
    parts = tuple(
        replace(
            scan,
            contrast="localizer",
            image="",
            planes=part,
            repetition_ms=8.6,
            echo_ms=4.0,
            inversion_ms=0.0,
            flip_deg=20.0,
        )
        for part in planes
    )
    return SimulatedSeries("localizer", parts, False, name, seconds=18.0)


def _derive(scans: dict[str, SimulatedScan], kind: str, name: str) -> SimulatedSeries:
    """Compute what the console computes at the end."""
    after, before = scans[POSTCONTRAST], scans["T1w"]
    if kind == "subtraction":
        planes = geometry.subtract(after.planes, before.planes)
    else:
        every = max(1, round(after.planes.pixels.shape[1] / _MAX_MPR))
        planes = geometry.reformat(after.planes, every)
    return SimulatedSeries(kind, (replace(after, planes=planes, image=""),), False, name, seconds=20.0)
