"""Print how large and how loosely typed the package is: ``python -m docs.tools.counts [FOLDER]``.

One row per package at the top of ``mesems_mri`` and a total: modules, modules over 300 lines, functions,
functions over 60 lines, ``Any`` in signatures, look-ups by a literal string, arrows (packages at the top that
it imports). The long modules and functions are listed below the table.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "mesems_mri"
LONG_MODULE = 300
LONG_FUNCTION = 60

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, kw_only=True)
class ModuleCounts:
    """Counts of one module.

    Parameters
    ----------
    module : str
        Path relative to the package.
    part : str
        Name at the top of the package: a package, or the module itself.
    lines : int
        Lines of the file.
    functions : dict of str to int
        Lines of every function and method, by ``name:line``.
    any_in_signatures : int
        Occurrences of ``Any`` in annotations of arguments, returns and fields of classes.
    string_lookups : int
        Subscripts with a literal string and calls of ``get`` with one as the first argument.
    imports : frozenset of str
        Names at the top of the package that it imports, its own left out.
    """

    module: str
    part: str
    lines: int
    functions: dict[str, int]
    any_in_signatures: int
    string_lookups: int
    imports: frozenset[str]

    @property
    def long_functions(self) -> dict[str, int]:
        """Functions over `LONG_FUNCTION` lines."""
        return {name: lines for name, lines in self.functions.items() if lines > LONG_FUNCTION}


def count_module(text: str, module: str, package: str = PACKAGE.name) -> ModuleCounts:
    """Count one module.

    Parameters
    ----------
    text : str
        Its source.
    module : str
        Path relative to the package, e.g. ``core/feret.py``.
    package : str
        Name of the package.

    Returns
    -------
    ModuleCounts

    Raises
    ------
    SyntaxError
        If it is no Python.
    """
    tree = ast.parse(text)
    part = module.split("/")[0].removesuffix(".py")
    functions = [node for node in ast.walk(tree) if isinstance(node, _Function)]
    return ModuleCounts(
        module=module,
        part=part,
        lines=len(text.splitlines()),
        functions={f"{f.name}:{f.lineno}": (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions},
        any_in_signatures=sum(_count_any(annotation) for annotation in _annotations(tree)),
        string_lookups=sum(_is_string_lookup(node) for node in ast.walk(tree)),
        imports=frozenset(_imported(tree, package)) - {part},
    )


def count_package(folder: Path) -> list[ModuleCounts]:
    """Count every module below a package, in order of their paths."""
    return [
        count_module(path.read_text(encoding="utf-8"), path.relative_to(folder).as_posix(), folder.name)
        for path in sorted(folder.rglob("*.py"))
    ]


def names_at_the_top(modules: Sequence[ModuleCounts]) -> list[str]:
    """List packages and modules directly in the package; ``__init__`` and ``__main__`` are none."""
    return sorted({m.part for m in modules if not m.part.startswith("__")})


def table(modules: Sequence[ModuleCounts]) -> str:
    """Set the counts as a table of equal widths, one row per name at the top and a total."""
    head = ["", "modules", "over 300", "functions", "over 60", "Any", "look-ups", "arrows"]
    parts = {name: [m for m in modules if m.part == name] for name in names_at_the_top(modules)}
    rows = [head, *(_row(name, found) for name, found in parts.items())]
    arrows = sum(int(row[-1]) for row in rows[1:])
    rows.append([*_row("total", modules)[:-1], str(arrows)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def _row(name: str, modules: Sequence[ModuleCounts]) -> list[str]:
    numbers = (
        len(modules),
        sum(m.lines > LONG_MODULE for m in modules),
        sum(len(m.functions) for m in modules),
        sum(len(m.long_functions) for m in modules),
        sum(m.any_in_signatures for m in modules),
        sum(m.string_lookups for m in modules),
        len(frozenset().union(*(m.imports for m in modules))),
    )
    return [name, *map(str, numbers)]


def _annotations(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield the annotations of arguments, returns and fields of classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation:
            yield node.annotation
        elif isinstance(node, _Function) and node.returns:
            yield node.returns
        elif isinstance(node, ast.ClassDef):
            yield from (item.annotation for item in node.body if isinstance(item, ast.AnnAssign))


def _count_any(annotation: ast.expr) -> int:
    names = (getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(annotation))
    return sum(name == "Any" for name in names)


def _is_string_lookup(node: ast.AST) -> bool:
    if isinstance(node, ast.Subscript):
        literal = getattr(node.value, "id", getattr(node.value, "attr", "")) == "Literal"
        return not literal and _is_text(node.slice)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        return bool(node.args) and _is_text(node.args[0])
    return False


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the names at the top of the package that a module imports; imports are absolute here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            root, *rest = name.split(".")
            if root == package and rest and not rest[0].startswith("__"):
                yield rest[0]


def main(arguments: Sequence[str]) -> int:
    """Print the counts of the package, or of the one whose folder is given."""
    modules = count_package(Path(arguments[0]) if arguments else PACKAGE)
    names = names_at_the_top(modules)
    print(f"{len(names)} names at the top: {', '.join(names)}\n")
    print(table(modules))
    print(f"\nmodules over {LONG_MODULE} lines")
    for m in sorted(modules, key=lambda m: -m.lines):
        if m.lines > LONG_MODULE:
            print(f"{m.lines:5}  {m.module}")
    print(f"\nfunctions over {LONG_FUNCTION} lines")
    found = [(lines, m.module, name) for m in modules for name, lines in m.long_functions.items()]
    for lines, module, name in sorted(found, key=lambda item: -item[0]):
        print(f"{lines:5}  {module}:{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
