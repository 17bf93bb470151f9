"""All accuracy figures in one command and one table, with the targets of the project.

    python -m benchmarks.accuracy REAL_DATA WORK [--quick] [--draws N] [--only PART ...] [--cores N]

Parts, each kept in its folder of WORK, so that a second call only reads what the first one made:

- *real*: patients 01 and 12 (change), 07 and 26, arranged by `tests.real.arrange`, run and evaluated;
- *stable*: every raw visit scanned again without change and with new lesions (`benchmarks.new_lesions`);
- *lesions*: T2 lesions of 07, 26, P18, P39 and MS3SEG, each read by a network that has not seen the patient;
- *gel*: implants and false foci of enhancement (`benchmarks.accuracy_gel`);
- *change*: plain methods beside ours (`benchmarks.accuracy_change`);
- *brain*: brain masks (`benchmarks.accuracy_brain`);
- *fake*: one head in two positions, read as if before and after contrast: nothing in it enhances.

What each part prints is in ``WORK/<part>.txt``; the table says which figures have no target, and which miss
it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.stable_pairs import stable_pairs
from mesems_mri.core.intervals import wilson_interval
from mesems_mri.dataset.columns import VISIT_METRICS_COLUMNS
from mesems_mri.dataset.tables import read_table
from tests.real.arrange import arrange_fake_pair, arrange_open_ms

PARTS = ("real", "lesions", "stable", "gel", "fake", "change", "brain")
_FROM_27 = ("27-70", "70-500", ">=500")
_FROM_70 = ("70-500", ">=500")
RISES = (2.0, 3.0, 3.5)
"""In MAD of white matter: what brightened by less is ignored, for another look at the clearer changes."""


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, the figure, and the target where there is one."""

    measure: str
    figure: str
    target: str = ""
    met: bool | None = None

    def __str__(self) -> str:
        met = {None: "", True: "yes", False: "**no**"}[self.met]
        return f"| {self.measure} | {self.figure} | {self.target} | {met} |"


def main() -> None:
    """Run the parts and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real_data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument(
        "--quick", action="store_true", help="7 stable pairs instead of 42, one draw of enhancing implants"
    )
    parser.add_argument("--draws", type=int, default=6, help="stable pairs of each of the 7 raw visits (6)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    for part in given.only:
        draws = 1 if given.quick else given.draws
        _run_part(part, given.real_data, given.work, given.cores, quick=given.quick, draws=draws)
    print("| measure | figure (95 % interval) | target | met |\n|---|---|---|---|")
    for row in summary(given.work):
        print(row)


def _run_part(part: str, real_data: Path, work: Path, cores: int, *, quick: bool, draws: int) -> None:
    real, stable, brain = work / "real", work / "stable", work / "brain.json"
    output: list[str] = []

    def call(*command: str | Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *map(str, command)], stdout=subprocess.PIPE, text=True, check=True
        )
        output.append(done.stdout)

    def run_and_score(bids: Path, out: Path, truth: Path) -> None:
        call("mesems_mri", "run", bids, out, "--cores", str(cores))
        call("mesems_mri", "evaluate", out, truth, "--json", work / f"{part}.json")

    if part in ("real", "change") and not real.is_dir():
        call("tests.real.arrange", real_data, real)
    if part == "real":
        run_and_score(real / "bids", real / "out", real / "truth")
        for rise in RISES:
            clear = work / f"real_above_{rise:g}"
            arrange_open_ms(real_data / "open_ms", clear / "bids", clear / "truth", min_dz=rise)
            call("mesems_mri", "evaluate", real / "out", clear / "truth", "--json", clear / "scores.json")
    elif part == "lesions":
        lesions = ("--work", work / "t2", "--sets", work / "lesions.json")
        call("benchmarks.t2_curve", *lesions, "--json", work / "t2_curve.json")
    elif part == "stable":
        if not (stable / "bids" / "participants.tsv").is_file():
            call("benchmarks.new_lesions", real_data, stable / "bids", str(draws))
        run_and_score(stable / "bids", stable / "out", stable / "bids" / "derivatives" / "truth")
        call("benchmarks.stable_pairs", stable / "bids", stable / "out")
    elif part == "gel":
        call("benchmarks.accuracy_gel", "--json", work / "gel.json", *(["--quick"] if quick else []))
    elif part == "change":
        call("benchmarks.accuracy_change", real / "out", real / "truth", stable / "bids", stable / "out")
        truth = stable / "bids" / "derivatives" / "truth"
        curves = ("--json", work / "change_curve.json")
        call("benchmarks.change_curve", real / "out", real / "truth", stable / "out", truth, *curves)
    elif part == "fake":
        if not (work / "fake" / "bids").is_dir():
            arrange_fake_pair(real_data / "dicom" / "siemens_decubitus", work / "fake" / "bids")
        call("mesems_mri", "run", work / "fake" / "bids", work / "fake" / "out", "--cores", str(cores))
    else:
        call("benchmarks.accuracy_brain", "--real-data", real_data, "--no-bias", "--json", brain)
    (work / f"{part}.txt").write_text("\n".join(output), encoding="utf-8")


def summary(work: Path) -> Iterator[Row]:
    """Read what the parts left in ``work`` and yield the lines of the table.

    Parameters
    ----------
    work : Path
        Folder of the benchmark; parts that were not run yield nothing.
    """
    if (work / "real.json").is_file():
        yield from _real(_products(work / "real.json"))
    for rise in RISES:
        if (scores := work / f"real_above_{rise:g}" / "scores.json").is_file():
            change = _products(scores)["t2_change"]
            name = f"new + enlarging T2 that brightened by > {rise:g} MAD of white matter: sensitivity"
            yield _share(name, change["found"], change["truth"])
    if (work / "lesions.json").is_file():
        yield from _lesions(json.loads((work / "lesions.json").read_text(encoding="utf-8")))
    if (work / "stable.json").is_file():
        yield from _stable(_products(work / "stable.json")["t2_change"], work / "stable")
    if (work / "gel.json").is_file():
        yield from _gel(json.loads((work / "gel.json").read_text(encoding="utf-8")))
    if (work / "fake" / "out" / "visit_metrics.tsv").is_file():
        (visit,) = read_table(work / "fake" / "out" / "visit_metrics.tsv", VISIT_METRICS_COLUMNS)
        count = visit["gel_count"]
        figure = "not evaluable" if count is None else str(count)
        yield Row("GEL on one head in two positions: false foci", figure, "0", count == 0)
    if (work / "brain.json").is_file():
        yield from _brain(json.loads((work / "brain.json").read_text(encoding="utf-8")))


def _brain(figures: dict[str, Any]) -> Iterator[Row]:
    dice, apart, cpu_s = figures["dice"], figures["apart"], figures["cpu_s"]
    yield Row(
        f"brain mask, 01 and 12, {len(dice)} images: Dice, mean and lowest",
        f"{mean(dice):.3f}, {min(dice):.3f}",
        ">= 0.945",
        mean(dice) >= 0.945,
    )
    yield Row(
        f"brain volume, contrasts of one visit ({len(apart)} raw visits): apart, median and largest",
        f"{median(apart):.1%}, {max(apart):.1%}",
        "<= 3 %",
        max(apart) <= 0.03,
    )
    yield Row("brain mask: voxels of T2 lesions of 07 and 26 cut off", str(figures["cut_off"]), "0", None)
    yield Row(
        f"brain mask, {len(cpu_s)} of {figures['images']} images: CPU s, median and largest",
        f"{median(cpu_s):.1f}, {max(cpu_s):.1f}",
        "<= 5",
        max(cpu_s) <= 5,
    )


def _products(path: Path) -> dict[str, dict[str, Any]]:
    products = json.loads(path.read_text(encoding="utf-8"))["products"]
    return {product["name"]: product for product in products}


def _real(products: dict[str, dict[str, Any]]) -> Iterator[Row]:
    change = products["t2_change"]
    low, high = change["f1_ci95"]
    name = "new + enlarging T2, 01 and 12 pooled"
    yield Row(f"{name}: F1", f"{change['f1']:.2f} ({low:.2f}-{high:.2f})", ">= 0.50", change["f1"] >= 0.5)
    yield _share(f"{name}: sensitivity", change["found"], change["truth"], 0.55)
    yield _share(f"{name}: sensitivity at >= 70 mm3", *_pooled(change, _FROM_70), 0.70)
    yield _share(f"{name}: precision", change["true_detections"], change["detections"])


def _lesions(sets: dict[str, dict[str, list[float]]]) -> Iterator[Row]:
    """Yield the means of F1 and Dice over the patients of some data sets, all of them held out."""
    for names, targets in ((("open_ms", "MSLesSeg"), (0.74, 0.70)), (("MS3SEG",), (0.68, 0.66))):
        patients = {p: row for name in names for p, row in sets.get(name, {}).items()}
        for figure, (what, target) in enumerate(zip(("lesion F1", "Dice"), targets, strict=True)):
            if patients:
                value = mean(row[figure] for row in patients.values())
                yield Row(
                    f"T2 lesions, held out, mean over {', '.join(patients)}: {what}",
                    f"{value:.2f}",
                    f">= {target:.2f}",
                    value >= target,
                )


def _stable(change: dict[str, Any], stable: Path) -> Iterator[Row]:
    repeats = [visit for visit in change["visits"] if visit["session_id"] == "ses-2"]
    false = sum(visit["detections"] for visit in repeats)
    limit = 2 * len(repeats) / 40
    yield Row(
        "stable pairs: false new or enlarging lesions",
        f"{false} in {len(repeats)} pairs",
        "<= 2 in 40",
        false <= limit,
    )
    yield _share("new-lesion implants >= 27 mm3: sensitivity", *_pooled(change, _FROM_27), 0.85)
    for size in change["by_size"]:
        found, truth = _pooled(change, (size,))
        if truth:
            yield _share(f"new-lesion implants {size} mm3: sensitivity", found, truth)
    others = sum(v["detections"] - v["true_detections"] for v in change["visits"]) - false
    yield Row("new-lesion implants: other lesions at those visits", str(others))
    apart: dict[bool, list[float]] = {True: [], False: []}
    for pair in stable_pairs(stable / "bids", stable / "out"):
        if pair["t2lv_change"] is not None:
            apart[abs(pair["slices_mm"][0] - pair["slices_mm"][1]) < 0.1].append(abs(pair["t2lv_change"]))
    for equal, name, limits in ((True, "equal", (3, 6)), (False, "other", (6, 12))):
        if found := apart[equal]:
            what = f"stable pairs, {name} slices ({len(found)}): T2LV difference"
            for which, value, most in zip(
                ("median", "largest"), (median(found), max(found)), limits, strict=True
            ):
                yield Row(f"{what}, {which}", f"{value:.1%}", f"<= {most} %", value <= most / 100)


def _gel(figures: dict[str, Any]) -> Iterator[Row]:
    for name, target in ((">= 70 mm3", 0.90), ("14-70 mm3", 0.70)):
        found, truth = figures["implants"][name]
        yield _share(f"GEL implants {name}: sensitivity", found, truth, target)
    false, scans = figures["false"], figures["scans"]
    yield Row(
        "GEL on scans without: false foci", f"{false} in {scans} scans", "<= 0.5 a scan", false <= scans / 2
    )


def _pooled(product: dict[str, Any], sizes: tuple[str, ...]) -> tuple[int, int]:
    classes = [product["by_size"][size] for size in sizes if size in product["by_size"]]
    return sum(c["found"] for c in classes), sum(c["truth"] for c in classes)


def _share(measure: str, hits: int, number: int, target: float | None = None) -> Row:
    interval = wilson_interval(hits, number)
    if interval is None:
        return Row(measure, "-")
    low, high = interval
    return Row(
        measure,
        f"{hits}/{number} = {hits / number:.2f} ({low:.2f}-{high:.2f})",
        f">= {target:.2f}" if target else "",
        hits / number >= target if target else None,
    )


if __name__ == "__main__":
    main()
