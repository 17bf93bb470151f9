"""Accuracy figures as plain text, with the published yardsticks beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# All of them from other data and often other rules: they show usual figures, not comparable ones.
YARDSTICKS: tuple[dict[str, str], ...] = (
    {
        "product": "t2_change",
        "figure": "F1 0.541 (best team), 0.552 with 0.036 false lesions per stable pair (best since)",
        "source": "3D FLAIR pairs of MSSEG-2",
    },
    {
        "product": "t2_change",
        "figure": "sensitivity 0.83, precision 0.86 (subtraction without learning)",
        "source": "Ganiler 2014",
    },
    {
        "product": "t2_change",
        "figure": "kappa 0.4-0.5 between experts on new T2 lesions, without registration",
        "source": "Molyneux 1999",
    },
    {
        "product": "gel",
        "figure": "sensitivity 0.90, precision 0.77",
        "source": "Coronado 2021",
    },
    {"product": "gel", "figure": "sensitivity 0.93, 0.77 false lesions per scan", "source": "AMCRF 2013"},
    {"product": "gel", "figure": "sensitivity 0.93, 0.02 false lesions per scan", "source": "Greselin 2024"},
    {"product": "gel", "figure": "kappa 0.76-0.9 between experts", "source": "expert readers"},
    {"product": "t2_lesions", "figure": "Dice 0.62, F1 0.62", "source": "LST-AI"},
)


def format_evaluation(document: Mapping[str, Any]) -> str:
    """Lay out an evaluation document as plain text.

    Parameters
    ----------
    document : mapping
        What ``Evaluation.to_json`` returns.

    Returns
    -------
    str
        Tables, one line per figure that is not obvious, and the yardsticks; ends with a line feed.
    """
    products: Sequence[Mapping[str, Any]] = document["products"]
    blocks: list[str] = []
    if products:
        blocks += [_lesion_table(products), _size_table(products), _volume_table(products)]
    if document["counts"]:
        blocks.append(_count_table(document["counts"]))
    missed = _missed_lines(products, document["counts"])
    if missed:
        blocks.append("Not evaluable, or not comparable, although the truth is known\n" + "\n".join(missed))
    if document["other_reference"]:
        lines = [f"  {visit}" for visit in document["other_reference"]]
        blocks.append("Change since another visit than in the truth, not compared\n" + "\n".join(lines))
    blocks.append(_yardstick_lines(document["yardsticks"], {product["name"] for product in products}))
    return "\n\n".join(blocks) + "\n"


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" + ("" if interval is None else f" ({interval[0]:.2f}-{interval[1]:.2f})")


def _align(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _lesion_table(products: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            product["title"],
            f"{product['visits_scored']}/{product['visits_scored'] + product['visits_missed']}",
            f"{product['found']}/{product['truth']}",
            _with_interval(product["sensitivity"], product["sensitivity_ci95"]),
            f"{product['true_detections']}/{product['detections']}",
            _with_interval(product["precision"], product["precision_ci95"]),
            _with_interval(product["f1"], product["f1_ci95"]),
            _number(product["false_per_visit"]),
            str(product["matched"]),
            _number(product["sensitivity_all_visits"]),
        )
        for product in products
    ]
    header = (
        "Lesions",
        "visits",
        "found",
        "sensitivity (95 %)",
        "true",
        "precision (95 %)",
        "F1 (95 %)",
        "false/visit",
        "1:1",
        "sens. all visits",
    )
    return _align(header, rows)


def _size_table(products: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            f"{product['title']}, {name} mm3",
            f"{tally['found']}/{tally['truth']}",
            _with_interval(tally["sensitivity"], tally["sensitivity_ci95"]),
            f"{tally['true_detections']}/{tally['detections']}",
            _with_interval(tally["precision"], tally["precision_ci95"]),
            _number(tally["f1"]),
        )
        for product in products
        for name, tally in product["by_size"].items()
        if tally["truth"] or tally["detections"]
    ]
    if not rows:
        return "By size: no lesions"
    return _align(("By size", "found", "sensitivity (95 %)", "true", "precision (95 %)", "F1"), rows)


def _volume_table(products: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            product["title"],
            f"{product['truth_volume_mm3']:.0f}",
            f"{product['detection_volume_mm3']:.0f}",
            _number(product["volume_ratio"]),
            _number(product["dice"]),
            _number(product["mean_visit_dice"]),
            f"{product['count_error']:+d}",
            _number(product["mean_absolute_count_error"]),
            f"{product['ignored_truth']}+{product['ignored_detections']}",
        )
        for product in products
    ]
    header = (
        "Volumes and counts",
        "truth mm3",
        "found mm3",
        "ratio",
        "Dice",
        "Dice/visit",
        "count error",
        "|error|/visit",
        "ignored truth+det.",
    )
    return _align(header, rows)


def _count_table(counts: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            count["column"],
            f"{count['exact']}/{count['visits_compared']}",
            "-" if count["mean_error"] is None else f"{count['mean_error']:+.2f}",
            _number(count["mean_absolute_error"]),
            str(count["not_evaluable_in_both"]),
            str(len(count["missed"])),
            str(len(count["unexpected"])),
        )
        for count in counts
    ]
    header = (
        "visit_metrics.tsv",
        "exact",
        "mean error",
        "|error|",
        "not evaluable in both",
        "only truth evaluable",
        "only output evaluable",
    )
    return _align(header, rows)


def _missed_lines(products: Sequence[Mapping[str, Any]], counts: Sequence[Mapping[str, Any]]) -> list[str]:
    groups = [(product["title"], product["missed_visits"]) for product in products]
    groups += [(count["column"], count["missed"]) for count in counts]
    return [f"  {title}: {', '.join(visits)}" for title, visits in groups if visits]


def _yardstick_lines(yardsticks: Sequence[Mapping[str, str]], names: set[str]) -> str:
    lines = [
        f"  {yardstick['product']}: {yardstick['figure']} [{yardstick['source']}]"
        for yardstick in yardsticks
        if yardstick["product"] in names
    ]
    note = (
        "A lesion is found when >= 10 % of it is covered by detections of which <= 70 % lie outside the\n"
        "truth (MSSEG-2); a detection is true when the same holds the other way round. '-' is not defined,\n"
        "which is not zero."
    )
    if not lines:
        return note
    return note + "\n\nYardsticks, all FROM OTHER DATA (what is usual, not a comparison)\n" + "\n".join(lines)
