"""CDISC SDTM-shaped domains of a site: one row per result, scan, contrast agent and scanner property."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mesems_mri.dataset.tables import Row
from mesems_mri.errors import Reason
from mesems_mri.transfer.sdtm_columns import NV_TESTS
from mesems_mri.transfer.study import SiteStudy, VisitKey

NOT_DONE = "NOT DONE"
_DEVICE = {
    "MANUF": ("Manufacturer", "manufacturer"),
    "MODEL": ("Model Number", "model"),
    "FLDSTRN": ("Magnetic Field Strength (T)", "field_strength_t"),
    "SWVER": ("Software Version", "software"),
    "COIL": ("Receive Coil", "coil"),
}
"""Device identifiers by DIPARMCD: DIPARM, and the column of the image quality."""


@dataclass(frozen=True)
class _VisitTiming:
    """Timing variables of a visit, the same in all domains."""

    subject: str
    link: str
    number: float
    name: str
    date: str | None
    day: int | None


def domains(site: SiteStudy) -> dict[str, list[dict[str, Any]]]:
    """Make the rows of all domains of a site, cumulatively.

    Rows are in the order of the visits, which is that of time within a participant: a visit that comes later
    adds rows at the end of its participant's and renumbers none. What is not evaluable is NOT DONE with its
    reason code, never 0 (SDTMIG v3.2, --STAT and --REASND).

    Parameters
    ----------
    site : SiteStudy

    Returns
    -------
    dict of str to list of dict
        For ``nv``, ``pr``, ``ag``, ``suppag``, ``di``; a value that a row lacks is missing.
    """
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("nv", "pr", "ag", "suppag", "di")}
    timings = _timings(site)
    baselines = _baselines(site)
    numbers: dict[tuple[str, str], int] = {}

    def number(domain: str, subject: str) -> int:
        numbers[domain, subject] = numbers.get((domain, subject), 0) + 1
        return numbers[domain, subject]

    for row in site.metrics:
        visit = (row["participant_id"], row["session_id"])
        timing = timings[visit]
        for finding in _findings(row, baselines.get(visit[0], {})):
            common = _common(site, "NV", timing) | {
                "NVSEQ": number("NV", timing.subject),
                "NVLNKID": timing.link,
            }
            rows["nv"].append(common | finding | {"NVDTC": timing.date, "NVDY": timing.day})
        rows["pr"].append(_scan(site, row, timing) | {"PRSEQ": number("PR", timing.subject)})
        agent = _agent(site, row, timing) | {"AGSEQ": number("AG", timing.subject)}
        rows["ag"].append(agent)
        rows["suppag"] += _steroids(site, visit, agent)
    rows["di"] = list(_devices(site))
    return rows


def subject_id(site: SiteStudy, participant_id: str) -> str:
    """Return USUBJID: study, site and label of the participant."""
    return f"{site.study_id}-{site.site_id}-{participant_id.removeprefix('sub-')}"


def device_id(scanner: Row) -> str:
    """Return SPDEVID: the same for the same scanner, software and coil, whatever else the site has."""
    text = "\0".join(str(scanner[column] or "") for _, column in _DEVICE.values())
    return f"MRI-{hashlib.sha256(text.encode()).hexdigest()[:8].upper()}"


def _timings(site: SiteStudy) -> dict[VisitKey, _VisitTiming]:
    timings: dict[VisitKey, _VisitTiming] = {}
    last: dict[str, float] = {}
    for row in site.metrics:
        participant, session, week = row["participant_id"], row["session_id"], row["week"]
        label = session.removeprefix("ses-").upper()
        if row["visit_type"] == "scheduled" and week is not None:
            number, name = float(week), f"WEEK {week}"
        else:  # SDTMIG: an unplanned visit has a number of its own after the previous visit
            number = round(last.get(participant, 0.0) + 0.01, 2)
            kind = "VISIT" if row["visit_type"] == "scheduled" else row["visit_type"].upper()
            name = f"{kind} {label}"
        last[participant] = number
        day, date = (
            row["day_from_baseline"],
            site.sessions.get((participant, session), {}).get("acq_time", ""),
        )
        timings[participant, session] = _VisitTiming(
            subject=subject_id(site, participant),
            link=session,
            number=number,
            name=name,
            date=date[:10] or None,
            day=None if day is None else day + (day >= 0),  # SDTM has no day 0
        )
    return timings


def _baselines(site: SiteStudy) -> dict[str, dict[str, str]]:
    """Return the last evaluable scheduled visit up to week 0 (baseline), by participant and test."""
    found: dict[str, dict[str, str]] = {}
    for row in site.metrics:
        if row["visit_type"] != "scheduled" or row["week"] is None or row["week"] > 0:
            continue
        for test in NV_TESTS:
            if row[test.column] is not None:
                found.setdefault(row["participant_id"], {})[test.code] = row["session_id"]
    return found


def _common(site: SiteStudy, domain: str, timing: _VisitTiming) -> dict[str, Any]:
    return {
        "STUDYID": site.study_id,
        "DOMAIN": domain,
        "USUBJID": timing.subject,
        "VISITNUM": timing.number,
        "VISIT": timing.name,
    }


def _findings(row: Row, baselines: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    read = row["read_status"] != "automatic"
    for test in NV_TESTS:
        value = row[test.column]
        finding: dict[str, Any] = {
            "NVTESTCD": test.code,
            "NVTEST": test.name,
            "NVCAT": test.category,
            "NVLOC": "BRAIN",
            "NVMETHOD": "MRI",
        }
        if value is None:
            # a count that needs an earlier visit is empty at the first one, where the rest is evaluable
            reason = row[f"{test.part}_reason"] or Reason.NO_REFERENCE_VISIT
            yield finding | {"NVSTAT": NOT_DONE, "NVREASND": str(reason)}
            continue
        text = f"{value:.1f}" if test.units else str(value)
        yield finding | {
            "NVORRES": text,
            "NVORRESU": test.units or None,
            "NVSTRESC": text,
            "NVSTRESN": value,
            "NVSTRESU": test.units or None,
            "NVEVAL": "INDEPENDENT ASSESSOR" if read else None,
            "NVEVALID": row["read_status"].upper() if read else f"MESEMS-MRI {row['software_version']}",
            "NVLOBXFL": "Y" if baselines.get(test.code) == row["session_id"] else None,
        }


def _scan(site: SiteStudy, row: Row, timing: _VisitTiming) -> dict[str, Any]:
    visit = (row["participant_id"], row["session_id"])
    scanner = site.scanners.get(visit)
    # a scan that waits for an answer, or that nothing can be read from, was made all the same
    done = bool(site.contrasts.get(visit)) or row["brain_reason"] != Reason.MISSING_SCAN
    return _common(site, "PR", timing) | {
        "SPDEVID": device_id(scanner) if scanner else None,
        "PRLNKID": timing.link,
        "PRTRT": "MRI",
        "PRPRESP": "Y" if row["visit_type"] == "scheduled" else None,
        "PROCCUR": "Y" if done else "N",
        "PRREASND": None if done else str(Reason.MISSING_SCAN),
        "PRLOC": "BRAIN",
        "PRSTDTC": timing.date if done else None,
        "PRSTDY": timing.day if done else None,
    }


def _agent(site: SiteStudy, row: Row, timing: _VisitTiming) -> dict[str, Any]:
    visit = (row["participant_id"], row["session_id"])
    dose = _number(site.sessions.get(visit, {}).get("contrast_dose_mmol_kg", ""))
    seen = "ce-gadolinium_T1w" in site.contrasts.get(visit, ())
    given = True if seen or dose else False if dose == 0 else None
    agent = _common(site, "AG", timing) | {
        "AGLNKID": timing.link,
        "AGTRT": "GADOLINIUM-BASED CONTRAST AGENT",
        "AGCAT": "CONTRAST AGENT",
        "AGPRESP": "Y" if row["visit_type"] == "scheduled" else None,
    }
    if given is None:  # neither an image after contrast nor a word about it
        return agent | {"AGSTAT": NOT_DONE, "AGREASND": str(row["gel_reason"] or Reason.NO_POSTCONTRAST)}
    agent["AGOCCUR"] = "Y" if given else "N"
    if given:
        agent |= {"AGROUTE": "INTRAVENOUS", "AGSTDTC": timing.date, "AGSTDY": timing.day}
        agent |= {"AGDOSE": dose, "AGDOSU": "mmol/kg"} if dose else {}
    return agent


def _steroids(site: SiteStudy, visit: VisitKey, agent: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    flag = {"true": "Y", "false": "N"}.get(site.sessions.get(visit, {}).get("steroid_within_30d", ""))
    if flag:
        yield {
            "STUDYID": site.study_id,
            "RDOMAIN": "AG",
            "USUBJID": agent["USUBJID"],
            "IDVAR": "AGSEQ",
            "IDVARVAL": str(agent["AGSEQ"]),
            "QNAM": "STER30D",
            "QLABEL": "Steroids Within 30 Days Before Scan",
            "QVAL": flag,
            "QORIG": "CRF",
            "QEVAL": "INVESTIGATOR",
        }


def _devices(site: SiteStudy) -> Iterator[dict[str, Any]]:
    devices = {device_id(scanner): scanner for scanner in site.scanners.values()}
    for name in sorted(devices):
        values = {"DEVTYPE": ("Device Type", "MRI SCANNER")}
        for code, (label, column) in _DEVICE.items():
            if devices[name][column] is not None:
                values[code] = (label, str(devices[name][column]))
        for sequence, (code, (label, value)) in enumerate(values.items(), start=1):
            yield {
                "STUDYID": site.study_id,
                "DOMAIN": "DI",
                "SPDEVID": name,
                "DISEQ": sequence,
                "DIPARMCD": code,
                "DIPARM": label,
                "DIVAL": value,
            }


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
