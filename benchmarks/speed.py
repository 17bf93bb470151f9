"""Print what each step of a run has cost: ``python -m benchmarks.speed OUT_DIR [OUT_DIR ...]``.

Figures are those of whole processes, imports included, as every step writes them to its log.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

_COST = re.compile(r"cost: ([\d.]+) CPU s, ([\d.]+) s, (\d+) MiB peak")
STEPS = ("standardise", "register", "detect", "measure", "report")


def read_costs(out_dir: Path) -> dict[str, dict[str, tuple[float, float, int]]]:
    """Read (CPU s, wall s, peak MiB) of every step of every visit from its logs."""
    costs: dict[str, dict[str, tuple[float, float, int]]] = defaultdict(dict)
    for log in sorted(out_dir.glob("logs/sub-*/ses-*/*.log")):
        found = _COST.findall(log.read_text(encoding="utf-8", errors="replace"))
        if found and log.stem in STEPS:
            cpu_s, wall_s, peak_mib = found[-1]
            costs["/".join(log.parts[-3:-1])][log.stem] = (float(cpu_s), float(wall_s), int(peak_mib))
    return costs


def main(out_dirs: list[str]) -> None:
    print("Each step: CPU s / wall s / peak MiB.\n")
    print("| visit | " + " | ".join(STEPS) + " | all |")
    print("|---" * (len(STEPS) + 2) + "|")
    for out_dir in map(Path, out_dirs):
        for visit, steps in read_costs(out_dir).items():
            cells = [_cell(*steps[step]) if step in steps else "-" for step in STEPS]
            cpu_s, wall_s = (sum(cost[i] for cost in steps.values()) for i in (0, 1))
            peak_mib = max(cost[2] for cost in steps.values())
            print(f"| {visit} | " + " | ".join(cells) + f" | **{_cell(cpu_s, wall_s, peak_mib)}** |")


def _cell(cpu_s: float, wall_s: float, peak_mib: int) -> str:
    return f"{cpu_s:.1f} / {wall_s:.1f} / {peak_mib}"


if __name__ == "__main__":
    main(sys.argv[1:])
