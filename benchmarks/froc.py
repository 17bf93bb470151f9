"""Draw the curves of sensitivity against false lesions (FROC; Chakraborty 1989) of what was measured.

    python -m benchmarks.froc WORK PICTURE

``WORK`` is the folder of ``python -m benchmarks.accuracy``, after its parts *real*, *change* and *gel*.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

PANELS = {
    "T2 lesions": ("t2_curve.json", 6.0, "false lesions a scan"),
    "New and enlarging T2 lesions": ("change_curve.json", 2.5, "false lesions a visit"),
    "Enhancing lesions": ("gel.json", 2.5, "false foci a scan"),
}
"""Title of a panel: its file in WORK, the end of its axis, and what is on it."""


def main() -> None:
    """Draw a panel for each kind of lesion."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    figure, panels = plt.subplots(1, len(PANELS), figsize=(13, 4.4), layout="constrained")
    for panel, (title, (name, end, label)) in zip(panels, PANELS.items(), strict=True):
        content = json.loads((given.work / name).read_text(encoding="utf-8"))
        for curve, points in content.get("curves", content).items():
            false, found = zip(*sorted(points), strict=True)
            panel.plot(false, found, marker="o", markersize=3.5, linewidth=1.3, label=curve)
        panel.set(title=title, xlabel=label, xlim=(-0.02 * end, end), ylim=(0, 1.02))
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8, loc="lower right")
    panels[0].set_ylabel("sensitivity")
    figure.savefig(given.picture, dpi=110)


if __name__ == "__main__":
    main()
