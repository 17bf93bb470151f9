"""How well T2 lesions and their change are found on real scans; prints three tables.

    python benchmarks/accuracy_t2.py [--real-data DIR] [--cache DIR]

1. T2 lesions of open_ms patients 07 and 26 against the consensus of three raters. ``LOO`` lines: seed and
   acceptance thresholds chosen on the other patient only.
2. Change of patients 01 and 12. Forward, truth are the components that brightened
   (tests/real/change_sign.tsv, made without a detector); backward (later visit as reference), those that
   darkened. The other components are ignored.
3. Stable pairs: one real visit scanned again (moved, thicker slices, new noise and bias); every focus is
   false. Their twins hold 12 implanted lesions each that must be found.

Lesions are matched by the rule of MSSEG-2 (`core.agreement`).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from t2_cases import (
    CROSS_SECTIONAL,
    LONGITUDINAL,
    SPACING_MM,
    BoolArray,
    Case,
    Scan,
    implant,
    load_case,
    rescan,
)

from mesems_mri.core.agreement import compare_masks
from mesems_mri.core.change import ChangeThresholds, T2Change, detect_t2_change
from mesems_mri.core.lesions import LesionThresholds, segment_t2_lesions

SEED_Z = (2.5, 3.0, 3.5)
ACCEPT = (4.5, 5.0, 5.5)
CHANGE_ACCEPT = (6.0, 6.5, 7.0)
HEADER = (
    f"{'case':<22}{'found':>9}{'sens':>6}{'prec':>6}{'F1':>6}{'Dice':>6}{'false':>6}  by size (mm3), CPU s"
)


def segment(
    case: Case, scan: Scan, contrast: str, t1w: Scan | None, thresholds: LesionThresholds | None = None
) -> BoolArray:
    """Lesions of a scan."""
    return segment_t2_lesions(
        scan.image,
        contrast=contrast,  # pyright: ignore[reportArgumentType]
        brain_mask=case.brain,
        priors=case.priors,
        spacing_mm=SPACING_MM,
        slice_thickness_mm=scan.thickness_mm,
        plane_normal=scan.plane_normal,
        nawm=scan.nawm,
        t1w=None if t1w is None else t1w.image,
        thresholds=thresholds,
    ).mask


def detect(
    case: Case,
    now: Scan,
    then: Scan,
    lesions: tuple[BoolArray, BoolArray],
    t1w: Scan | None,
    thresholds: ChangeThresholds | None = None,
) -> T2Change:
    """Detect the change between two scans."""
    coarser = now if now.thickness_mm >= then.thickness_mm else then
    return detect_t2_change(
        now.image,
        then.image,
        current_lesions=lesions[0],
        reference_lesions=lesions[1],
        brain_mask=case.brain,
        nawm=now.nawm & then.nawm,
        priors=case.priors,
        spacing_mm=SPACING_MM,
        current_thickness_mm=now.thickness_mm,
        reference_thickness_mm=then.thickness_mm,
        plane_normal=coarser.plane_normal,
        current_t1w=None if t1w is None else t1w.image,
        thresholds=thresholds,
    )


def line(
    name: str, truth: BoolArray, found: BoolArray, ignore: BoolArray | None = None, cpu_s: float | None = None
) -> float:
    """Print one row of a table and return F1."""
    agreement = compare_masks(truth, found, spacing_mm=SPACING_MM, ignore=ignore)
    whole = agreement.overall
    sizes = " ".join(f"{key} {t.found}/{t.truth}" for key, t in agreement.by_size.items())
    spent = "" if cpu_s is None else f"  {cpu_s:.1f}"
    print(
        f"{name:<22}{whole.found:>5}/{whole.truth:<3}{_number(whole.sensitivity)}"
        f"{_number(whole.precision)}{_number(whole.f1)}{_number(agreement.dice)}"
        f"{whole.detections - whole.true_detections:>6}  {sizes}{spent}",
        flush=True,
    )
    return whole.f1 if whole.f1 is not None else 0.0


def _number(value: float | None) -> str:
    return f"{'-':>6}" if value is None or np.isnan(value) else f"{value:>6.2f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("MESEMS_REAL_DATA", str(Path(__file__).parents[2] / "shared" / "data"))
    parser.add_argument("--real-data", type=Path, default=Path(default))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "mesems_t2_cases")
    parser.add_argument("--stable", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    print("T2 lesions\n" + HEADER)
    report_lesions({name: load_case(name, given.real_data, given.cache) for name in CROSS_SECTIONAL})
    print("\nChange\n" + HEADER)
    report_change({name: load_case(name, given.real_data, given.cache) for name in LONGITUDINAL})
    if given.stable:
        print("\nStable pairs and their twins with implants\n" + HEADER)
        for name, key in (("01", "FLAIR_1"), ("12", "FLAIR_2"), ("07", "FLAIR"), ("26", "FLAIR")):
            report_stable(load_case(name, given.real_data, given.cache), key)


def report_lesions(cases: dict[str, Case]) -> None:
    """Print the table of T2 lesions."""
    scores: dict[tuple[float, float], dict[str, float]] = {}
    for name, case in cases.items():
        assert case.lesions is not None
        for contrast, t1w in (("FLAIR", "T1w"), ("FLAIR", None), ("T2w", "T1w"), ("T2w", None)):
            start = time.process_time()
            mask = segment(case, case.scans[contrast], contrast, case.scans[t1w] if t1w else None)
            line(
                f"{name} {contrast}{' + T1w' if t1w else ''}",
                case.lesions,
                mask,
                cpu_s=time.process_time() - start,
            )
    for seed_z in SEED_Z:
        for accept in ACCEPT:
            limits = replace(LesionThresholds(), seed_z=seed_z, accept=accept)
            scores[seed_z, accept] = {
                name: compare_masks(
                    case.lesions if case.lesions is not None else np.zeros(1),
                    segment(case, case.scans["FLAIR"], "FLAIR", case.scans["T1w"], limits),
                    spacing_mm=SPACING_MM,
                ).overall.f1
                or 0.0
                for name, case in cases.items()
            }
    for name, case in cases.items():
        assert case.lesions is not None
        best = max(scores, key=lambda k: sum(v for other, v in scores[k].items() if other != name))
        limits = replace(LesionThresholds(), seed_z=best[0], accept=best[1])
        mask = segment(case, case.scans["FLAIR"], "FLAIR", case.scans["T1w"], limits)
        line(f"{name} LOO {best[0]}, {best[1]}", case.lesions, mask)


def report_change(cases: dict[str, Case]) -> None:
    """Print the table of change."""
    scores: dict[float, dict[str, float]] = {accept: {} for accept in CHANGE_ACCEPT}
    found: dict[tuple[str, float], list[tuple[str, BoolArray, BoolArray, BoolArray, float]]] = {}
    for name, case in cases.items():
        scans = {v: (case.scans[f"FLAIR_{v}"], case.scans[f"T1w_{v}"]) for v in (1, 2)}
        lesions = {v: segment(case, flair, "FLAIR", t1w) for v, (flair, t1w) in scans.items()}
        for accept in CHANGE_ACCEPT:
            rows = found.setdefault((name, accept), [])
            for now, then, rise in ((2, 1, "rise"), (1, 2, "fall")):
                start = time.process_time()
                change = detect(
                    case,
                    scans[now][0],
                    scans[then][0],
                    (lesions[now], lesions[then]),
                    scans[now][1],
                    replace(ChangeThresholds(), accept=accept),
                )
                mask = (change.new > 0) | (change.enlarging > 0)
                rest = case.changed(*({"rise", "fall", "faint", "small"} - {rise}))
                cpu_s = time.process_time() - start
                rows.append((f"{name} {then} to {now}", case.changed(rise), mask, rest, cpu_s))
            scores[accept][name] = float(
                np.mean(
                    [
                        compare_masks(t, m, spacing_mm=SPACING_MM, ignore=i).overall.f1 or 0.0
                        for _, t, m, i, _ in rows
                    ]
                )
            )
    default = ChangeThresholds().accept
    for name in cases:
        for label, truth, mask, ignore, cpu_s in found[name, default]:
            line(label, truth, mask, ignore, cpu_s)
    for name in cases:
        best = max(scores, key=lambda k: sum(v for other, v in scores[k].items() if other != name))
        for label, truth, mask, ignore, _ in found[name, best]:
            line(f"{label} LOO {best}", truth, mask, ignore)


def report_stable(case: Case, key: str) -> None:
    """Print a stable pair and its twin."""
    scan, t1w = case.scans[key], case.scans[key.replace("FLAIR", "T1w")]
    thickness_mm = max(3.0, scan.thickness_mm)
    then = rescan(scan, thickness_mm=thickness_mm, seed=1)
    now = rescan(scan, thickness_mm=thickness_mm + 1.0, seed=2)
    old = segment(case, then, "FLAIR", t1w)
    none = np.zeros(case.brain.shape, bool)
    for label, a, b in (("thicker", now, then), ("thinner", then, now)):
        change = detect(case, a, b, (segment(case, a, "FLAIR", t1w), segment(case, b, "FLAIR", t1w)), t1w)
        line(f"{case.name} {key} {label}", none, (change.new > 0) | (change.enlarging > 0))
    with_implants, truth = implant(scan, case, n=12, seed=5, avoid=segment(case, scan, "FLAIR", t1w))
    now = rescan(with_implants, thickness_mm=thickness_mm + 1.0, seed=2)
    change = detect(case, now, then, (segment(case, now, "FLAIR", t1w), old), t1w)
    line(f"{case.name} {key} implants", truth, (change.new > 0) | (change.enlarging > 0))


if __name__ == "__main__":
    main()
