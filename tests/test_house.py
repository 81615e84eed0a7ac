"""The house rules that no tool knows: sizes, docstrings, broad handlers, tracked secrets."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
ROOMS = ("core", "routing", "evaluation", "providers", "db", "tasks", "workers", "batchyard")

FILE_LINES = 400
FUNCTION_LINES = 60
NESTING = 4

# Where anything that goes wrong must be written down and survived: outermost loops and calls
# of a stranger's code. A handler that cleans up and raises again needs no place here.
BROAD_HANDLERS = {
    "batchyard/embedded/supervisor.py:_child_died",  # the caller's own callback
    "tasks/calls/attempt.py:attempt",  # one request among hundreds in flight
    "workers/wiring.py:_live",  # ends the process
}

# Imports by a name in a text: the seam for late ones, the two front doors, an optional extra.
BY_NAME = {
    "core/lazy.py",
    "batchyard/__init__.py",
    "batchyard/cli/lazy.py",
    "tasks/encoders/onnx.py",
}

# Addresses of one machine or one network have no place in a checkout.
MACHINE = re.compile(
    r"(^|[\s\"'=:(`])/(?:work|home|root|Users|farm)/[\w.]"
    r"|https?://(?:[\w-]+\.)*(?:pypi|pythonhosted|jfrog|artifactory|nexus)\.[\w.-]+"
)
REGISTRY = re.compile(r"^\s*-{0,2}(?:extra-)?index-url|^\s*registry\s*=|find-links", re.MULTILINE)
SECRET = re.compile(
    r"\bsk-[A-Za-z0-9]{20,}|\bghp_\w{30,}|\bAKIA[A-Z0-9]{16}\b|BEGIN [A-Z ]*PRIVATE KEY"
)
LEFT_OPEN = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
TEXT_ENDINGS = {
    "", ".cfg", ".css", ".html", ".ini", ".js", ".lock", ".lua", ".mako", ".md", ".py", ".sh",
    ".sql", ".toml", ".txt", ".yaml", ".yml",
}  # fmt: skip


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that is, or would be, in the repository."""
    if not (HOUSE / ".git").exists():
        pytest.skip("not a git checkout: what is tracked cannot be told")
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=HOUSE,
        capture_output=True,
        check=True,
        text=True,
    )
    found = (HOUSE / name for name in listed.stdout.split("\0") if name)
    return tuple(sorted(path for path in found if path.is_file()))


@cache
def product() -> tuple[tuple[str, str, ast.Module], ...]:
    """Name, text and tree of every module of the product."""
    modules = (
        path
        for path in tracked()
        if path.suffix == ".py" and path.relative_to(HOUSE).parts[0] in ROOMS
    )
    return tuple(
        (path.relative_to(HOUSE).as_posix(), text, ast.parse(text))
        for path in modules
        for text in [path.read_text(encoding="utf-8")]
    )


def texts() -> Iterator[tuple[str, str]]:
    for path in tracked():
        if path.suffix in TEXT_ENDINGS and path != Path(__file__):
            yield path.relative_to(HOUSE).as_posix(), path.read_text(encoding="utf-8")


def lines_matching(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number} {line.strip()[:100]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def nesting(node: ast.AST, depth: int = 0) -> int:
    """How many blocks (`if`, `for`, `with`, `try`, ...) stand inside one another."""
    blocks = ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try
    deepest = depth
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            elif_branch = field == "orelse" and isinstance(node, ast.If) and len(value) == 1
            deeper = isinstance(child, blocks) and not (elif_branch and isinstance(child, ast.If))
            deepest = max(deepest, nesting(child, depth + deeper))
    return deepest


def test_files_stay_short() -> None:
    long = [f"{name}: {text.count(chr(10))}" for name, text, _ in product()
            if text.count("\n") > FILE_LINES]  # fmt: skip
    assert not long, f"files longer than {FILE_LINES} lines; split them by what they decide"


def test_functions_stay_short() -> None:
    long = [
        f"{name}:{node.lineno} {node.name}"
        for name, _, tree in product()
        for node in functions(tree)
        if (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES
    ]
    assert not long, f"functions longer than {FUNCTION_LINES} lines; name their steps"


def test_blocks_nest_little() -> None:
    deep = [
        f"{name}:{node.lineno} {node.name}"
        for name, _, tree in product()
        for node in functions(tree)
        if nesting(node) > NESTING
    ]
    assert not deep, f"blocks nested deeper than {NESTING}; return early or name the inner part"


def test_imports_stand_at_the_top() -> None:
    hidden = {
        f"{name}:{inner.lineno}"
        for name, _, tree in product()
        for node in functions(tree)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    }
    assert not hidden, "imports inside functions hide an arrow between rooms"


def test_what_is_imported_late_is_named_at_the_top() -> None:
    """`core.lazy` beside a true import under TYPE_CHECKING, which the import contract counts, so
    that it hides no cycle: nothing else is imported for types alone, or by its name in a text."""
    named = re.compile(
        r"^if TYPE_CHECKING:\n((?:    from [\w.]+ import \w+(?:, \w+)*(?: as \w+)?\n)+)"
        r"else:\n((?:    \w+ = lazy\(\"[\w.]+\"\)\n)+)",
        re.MULTILINE,
    )
    for name, text, _ in product():
        for block in named.finditer(text):
            told = re.findall(r"from ([\w.]+) import ([\w, ]+?)(?: as \w+)?\n", block[1])
            true = {f"{home}.{one}" for home, names in told for one in names.split(", ")}
            assert true == set(re.findall(r'lazy\("([\w.]+)"\)', block[2])), name
        rest = named.sub("", text)
        assert name in BY_NAME or not re.search(r"if TYPE_CHECKING|import_module\(", rest), name


def test_modules_say_what_they_are_for() -> None:
    silent = [
        name for name, text, tree in product() if text.strip() and not ast.get_docstring(tree)
    ]
    assert not silent, "modules without a docstring"


def test_types_are_not_silenced() -> None:
    silenced = [
        f"{name}:{number}"
        for name, text, _ in product()
        for number, line in enumerate(text.splitlines(), 1)
        if "# type: ignore" in line
    ]
    assert not silenced, "`type: ignore` in product code; give the thing a type"


def test_only_outer_loops_catch_everything() -> None:
    def broad(handler: ast.ExceptHandler) -> bool:
        caught = handler.type
        kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
        names = {kind.id for kind in kinds if isinstance(kind, ast.Name)}
        swallows = not isinstance(handler.body[-1], ast.Raise)
        return swallows and (caught is None or bool(names & {"Exception", "BaseException"}))

    found = {
        f"{name}:{function.name}"
        for name, _, tree in product()
        for function in functions(tree)
        for node in ast.walk(function)
        if isinstance(node, ast.ExceptHandler) and broad(node)
    }
    assert found <= BROAD_HANDLERS, "broad handlers outside the outer loops"
    assert found >= BROAD_HANDLERS, "listed here, but gone: take them off the list"


def test_nothing_is_left_open() -> None:
    assert not lines_matching(LEFT_OPEN)


def test_no_machine_and_no_registry_is_named() -> None:
    assert not lines_matching(MACHINE)
    assert not [line for line in lines_matching(REGISTRY) if not line.startswith("Makefile:")]


def test_no_secret_is_tracked() -> None:
    assert not lines_matching(SECRET)


def test_the_lock_is_hashed_and_names_no_address() -> None:
    lock = (HOUSE / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    pinned = re.findall(
        r"^[a-z0-9][^\s]*==\S+(?: ;[^\\]*)? \\\n((?:    --hash=sha256:.*\n)+)", lock, re.MULTILINE
    )
    assert len(pinned) == len(re.findall(r"^[A-Za-z0-9]", lock, re.MULTILINE)) > 50


def test_the_wheel_holds_the_rooms_and_no_tests() -> None:
    project = (HOUSE / "pyproject.toml").read_text(encoding="utf-8")
    include = re.search(r"packages\.find\]\ninclude = \[([^]]*)\]", project)
    assert include is not None
    shipped = set(re.findall(r'"(\w+)\*"', include.group(1)))
    assert shipped == {room for room in ROOMS if (HOUSE / room).is_dir()}
