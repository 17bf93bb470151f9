"""The counts of the package, on a module whose counts are known."""

from pathlib import Path

import pytest

from docs.tools import counts

TEXT = """
from typing import Any, Literal
from mesems_mri.dataset.layout import Layout
from mesems_mri import errors
import mesems_mri.core.feret

Kind = Literal["a", "b"]

class Record:
    content: dict[str, Any]

def read(row: dict[str, Any], *, more: Any = None) -> "Layout":
    local: Any = row["a"], row.get("b"), row.get(more), row[0]
    row["c"] = local
    return Layout()

def long() -> None:
{body}
"""


def test_a_module_is_counted() -> None:
    found = counts.count_module(TEXT.format(body="    pass\n" * 60), "core/module.py")
    assert found.part == "core"
    assert found.any_in_signatures == 3
    assert found.string_lookups == 3
    assert found.imports == {"dataset", "errors"}
    assert list(found.long_functions.values()) == [61]
    assert not counts.count_module(TEXT.format(body="    pass\n" * 59), "core/module.py").long_functions


def test_rows_add_up_to_the_total(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mesems_mri"
    (folder / "core").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""Nothing."""\n')
    (folder / "errors.py").write_text("x = 1\n" * 301)
    (folder / "core" / "module.py").write_text(TEXT.format(body="    pass\n" * 60))
    assert counts.main([str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 names at the top: core, errors"
    rows = {
        line.split()[0]: line.split()[1:] for line in lines if line.startswith(("core", "errors", "total"))
    }
    assert rows == {
        "core": ["1", "0", "2", "1", "3", "3", "2"],
        "errors": ["1", "1", "0", "0", "0", "0", "0"],
        "total": ["3", "1", "2", "1", "3", "3", "2"],
    }
    assert "  301  errors.py" in lines
