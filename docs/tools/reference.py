"""Write the pages of docs/reference/ from the code: ``python -m docs.tools.reference [--check]``.

Tables, configuration and commands are described where they are defined; these pages repeat that, so nobody
edits them by hand. ``--check`` writes nothing and fails when a page is not what the code says.
"""

import difflib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.columns import (
    CANDIDATE_COLUMNS,
    LEDGER_COLUMNS,
    PARTICIPANT_ENDPOINTS_COLUMNS,
    SCHEMA_VERSION,
    SITE_QUALITY_COLUMNS,
    VISIT_METRICS_COLUMNS,
    Column,
)
from mesems_mri.dataset.reasons import FlagText, QueryText, registry
from mesems_mri.dataset.tables import FORBIDDEN_COLUMNS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"
_UNITS = {"_mm3": "mm3", "_mm": "mm", "week": "week", "start": "week", "end": "week", "weeks": "week"}
_BY_OTHER_WAYS = {
    "visit_type=lambda": ("visits",),
    "table=visit_table_options": ("visits", "study_id"),
    "images=image_options": ("intake.select",),
}
"""Parameters of the rules that hold keys of the configuration without ``settings(...)``."""
_NOTE = "<!-- Written by `make reference`; edit the code it comes from, not this page. -->"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Set a Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def columns_page() -> str:
    """Describe every column of every table, with the closed lists of values."""
    parts = [
        "# Columns of the tables",
        f"Schema {SCHEMA_VERSION}. An empty field is *not evaluable or not applicable*, never zero. Booleans "
        "are `true` and `false`. The JSON file beside a table (`visit_metrics.json`, "
        "`participant_endpoints.json`) says the same to a program.",
    ]
    for title, intro, columns in (
        ("visit_metrics", "`visit_metrics.tsv`: one row per visit.", VISIT_METRICS_COLUMNS),
        (
            "participant_endpoints",
            "`participant_endpoints.tsv`: one row per participant and period.",
            PARTICIPANT_ENDPOINTS_COLUMNS,
        ),
        (
            "Lesion ledger",
            "`sub-X/sub-X_lesions.tsv`: one row per focus and visit, sorted by visit and `lesion_id`.",
            LEDGER_COLUMNS,
        ),
        (
            "Candidates",
            "`sub-X/ses-Y/sub-X_ses-Y_candidates.tsv`: one row per candidate, sorted by kind, score and "
            "place; `n/a` where a value is missing.",
            CANDIDATE_COLUMNS,
        ),
        (
            "Site quality",
            "`.mesems/site_quality.tsv`, an intermediate file: one row per image.",
            SITE_QUALITY_COLUMNS,
        ),
    ):
        parts += [f"## {title}", intro, _column_table(columns)]
    parts += ["## Closed lists", "Values that a column may hold."]
    shown: list[Mapping[str, str]] = []
    for columns in (VISIT_METRICS_COLUMNS, PARTICIPANT_ENDPOINTS_COLUMNS, LEDGER_COLUMNS, CANDIDATE_COLUMNS):
        for name, column in columns.items():
            plain = all(value == meaning for value, meaning in column.levels.items())
            if plain or _has_page(name) or column.levels in shown:
                continue
            shown.append(column.levels)
            parts += [f"### {name}", table(("value", "meaning"), _levels(column))]
    parts += [
        "## Columns that are refused",
        "A table of the input with one of these columns would unblind the analysis; it is refused, whatever "
        "case, space or `_` it is spelt with (`*` stands for anything): "
        + ", ".join(f"`{name}`" for name in FORBIDDEN_COLUMNS)
        + ".",
    ]
    return "\n\n".join(parts)


def _has_page(name: str) -> bool:
    """Tell whether the values of a column are explained on the page of what can go wrong."""
    return name.endswith("_reason") or name in ("qc_flags", "why_not_counted")


def _levels(column: Column) -> list[tuple[str, str]]:
    return [(f"`{value}`", meaning) for value, meaning in column.levels.items()]


def _column_table(columns: Mapping[str, Column]) -> str:
    rows = []
    for name, column in columns.items():
        decimals = f"{column.decimals} decimal{'s' * (column.decimals != 1)}"
        values = f"number, {decimals}" if column.kind == "number" else column.kind
        if name.endswith("_reason"):
            values = "[reason code](../problems.md#reason-codes)"
        elif name == "why_not_counted":
            values = "[cause](codes.md#causes)"
        elif name == "qc_flags":
            values = "[flags](../problems.md#quality-flags), `;`-joined"
        elif column.levels:
            values = ", ".join(f"`{level}`" for level in column.levels)
        rows.append((f"`{name}`", column.description, values, column.units))
    return table(("column", "meaning", "values", "unit"), rows)


def codes_page() -> str:
    """Describe every code: reasons, flags, queries and causes, with what to do."""
    parts = [
        "# Codes",
        "Why something is not evaluable, what is flagged, what a site is asked, and why a candidate is not "
        "counted: closed lists.",
    ]
    intros = {
        "reason": "Reasons for which something is not evaluable, in the columns `*_reason`. "
        "[Problems](../problems.md#reason-codes) has more on each.",
        "flag": "Flags of an evaluable visit, in the column `qc_flags`.",
        "query": "Queries to the sites, in `queries.tsv`; a blocking one holds its visit until answered.",
        "cause": "Causes why a candidate is not counted, in the column `why_not_counted` of "
        "`sub-X_ses-Y_candidates.tsv`.",
    }
    for kind, intro in intros.items():
        rows = []
        head = ["code", "short", "what", "what to do"]
        head += {"flag": ["effect on the counts"], "query": ["blocking"]}.get(kind, [])
        for of_kind, code, text in registry():
            if of_kind == kind:
                more = [text.effect] if isinstance(text, FlagText) else []
                more += ["yes" if text.blocking else "no"] if isinstance(text, QueryText) else []
                rows.append([f"`{code}`", text.short, text.what, text.to_do, *more])
        title = {"reason": "Reasons", "flag": "Flags", "query": "Queries", "cause": "Causes"}[kind]
        parts += [f"## {title}", intro, table(head, rows)]
    return "\n\n".join(parts)


def configuration_page() -> str:
    """Describe every key of the configuration, and which rules run again when it changes."""
    schema = TrialConfig.model_json_schema()
    definitions = schema["$defs"]
    users = _rules_by_key()
    parts = [
        "# Keys of the configuration",
        "One YAML file, given with `--config`; [config.yaml](../../config/config.yaml) is that of the MESEMS "
        "trial. A key that is left out has its default; an unknown key or a value out of range ends the run "
        "with exit code 2. *Runs again* names the rules that a change touches; what follows from them runs "
        "again too. See [changing the configuration](../configuration.md).",
        f"The hash `config_sha256` in the tables covers {_all_but(hashed_keys())}.",
    ]
    top = []
    for key, entry in schema["properties"].items():
        name = _definition(entry)
        if name is None:
            top.append(_key_row(key, key, entry, users))
            continue
        rows = [
            _key_row(f"{key}.{child}", key, described, users)
            for child, described in definitions[name]["properties"].items()
        ]
        first = definitions[name]["description"]
        parts += [f"## {key}", first, table(("key", "meaning", "unit", "default", "runs again"), rows)]
    parts.insert(3, table(("key", "meaning", "unit", "default", "runs again"), top))
    for key, name in (("visits", "Visit"), ("periods", "Period")):
        rows = [
            _key_row(child, key, described, users)
            for child, described in definitions[name]["properties"].items()
        ]
        parts += [
            f"## Entry of {key}",
            definitions[name]["description"],
            table(("key", "meaning", "unit", "default", "runs again"), rows),
        ]
    return "\n\n".join(parts)


def _all_but(keys: Collection[str]) -> str:
    missing = [f"`{key}`" for key in _keys() if key not in keys]
    return f"every key but {', '.join(missing)}" if missing else "every key"


def _definition(entry: Mapping[str, Any]) -> str | None:
    reference = entry.get("$ref", "")
    return reference.rsplit("/", 1)[1] if reference else None


def _key_row(name: str, key: str, entry: Mapping[str, Any], users: Mapping[str, str]) -> tuple[str, ...]:
    child = name.rsplit(".", 1)[-1]
    unit = next((unit for ending, unit in _UNITS.items() if child.endswith(ending)), "")
    if child.endswith("_fraction"):
        unit = "0 to 1"
    if "default" in entry:
        default = f"`{json.dumps(entry['default'])}`"
    elif entry.get("type") == "object":
        default = "those of MESEMS" if key == child == "periods" else "`{}`"
    else:
        default = "none: give one"
    meaning = entry["description"]
    if "enum" in entry:
        meaning += ": " + ", ".join(f"`{value}`" for value in entry["enum"])
    return (f"`{name}`", meaning, unit, default, users.get(name) or users[key])


def _keys() -> list[str]:
    """List the keys of the configuration, those of a block by block and key."""
    keys = []
    for key, value in TrialConfig().model_dump().items():
        block = isinstance(value, dict) and key != "periods"
        keys += [f"{key}.{child}" for child in value] if block else [key]
    return keys


def hashed_keys() -> list[str]:
    """List the keys whose change shows in ``config_sha256``."""
    found = []
    for key in _keys():
        block, _, child = key.partition(".")
        value = TrialConfig().model_dump()[block]
        value = _other(key, value[child]) if child else _other(key, value)
        content = {block: {child: value} if child else value}
        if TrialConfig.model_validate(content).sha256() != TrialConfig().sha256():
            found.append(key)
    return found


def _other(key: str, value: Any) -> Any:
    """Return another valid value of a key."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value / 2
    if isinstance(value, str):
        return "other"
    others = {"visits": [{"session_id": "other"}], "periods": {}}
    return others.get(key, {"FLAIR": "other"})


def _rules_by_key() -> dict[str, str]:
    """Find in the rules which of them gets which key of the configuration."""
    found: dict[str, list[str]] = {key: [] for key in _keys()}
    order = re.findall(r'include: "(workflow/rules/\w+\.smk)"', (ROOT / "Snakefile").read_text())
    for name in order:
        text = (ROOT / name).read_text(encoding="utf-8")
        for rule, body in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", text, re.M | re.S):
            settings = " ".join(re.findall(r"settings\(([^)]*)\)", body))
            named = set(re.findall(r'"([^"]+)"', settings))
            for parameter, keys in _BY_OTHER_WAYS.items():
                named |= set(keys) if parameter in body else set()
            named |= set(hashed_keys()) if "config_sha256=" in body else set()
            for key, rules in found.items():
                if key in named or key.split(".")[0] in named:
                    rules.append(f"`{rule}`")
    return {key: ", ".join(rules) or "nothing" for key, rules in found.items()}


def commands_page() -> str:
    """Describe the command line with typer's own writer; the rules' commands are left out."""
    text = subprocess.run(
        [sys.executable, "-m", "typer", "mesems_mri.cli.main", "utils", "docs", "--name", "mesems-mri"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    text = text.split("## `mesems-mri step`")[0]
    text = re.sub(r"^\* `step`:.*\n", "", text, flags=re.M)
    # The default of --cores is the number of cores of the machine this runs on.
    text = re.sub(r"(`--cores <[^`]*`:.*\[default: )\d+", r"\1all", text)
    text = text.replace("# `mesems-mri`\n", "# Commands\n", 1)
    return text.strip()


PAGES: dict[str, Callable[[], str]] = {
    "columns.md": columns_page,
    "codes.md": codes_page,
    "configuration.md": configuration_page,
    "commands.md": commands_page,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` compare them."""
    stale = False
    for name, make in PAGES.items():
        path, text = FOLDER / name, f"{_NOTE}\n\n{make()}\n"
        if arguments == ["--check"]:
            old = path.read_text(encoding="utf-8") if path.is_file() else ""
            difference = list(
                difflib.unified_diff(old.splitlines(), text.splitlines(), name, "the code", lineterm="")
            )
            print(*difference, sep="\n", end="\n" if difference else "")
            stale |= bool(difference)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    if stale:
        print("docs/reference/ is not what the code says; run make reference", file=sys.stderr)
    return int(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
