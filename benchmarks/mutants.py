"""Mutation test of the fast suite: 200 small mistakes, each run against the tests that cover it.

    pip install pytest-cov
    python benchmarks/mutants.py

Lines of the packages below that fast tests execute (`-m "not slow"`) get one small mutation each: a
comparison is reversed or relaxed, a sum becomes a difference, `and` becomes `or`, a condition is
negated, a number is off by one.  Strings, annotations and messages are not changed. The tests that
cover the line run with `-x`; a mutation is caught if one fails, or if they exceed the time limit.
Prints the fraction of caught mutations, and each one that is not caught.

Every mutation runs in a child that is forked after torch, Ray and Optuna are imported, on a copy of
the package, so that a mutation costs only its tests.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("ledger", "search", "finetune/loss", "ablation", "analysis")
HEAVY = (
    "torch",
    "optuna",
    "ray",
    "ray.tune",
    "pandas",
    "scipy.stats",
    "sqlalchemy",
    "pytest",
    "plotly",
)
MOST_TESTS = 40
"""Of those that cover a line; a line that more cover is found by these."""
SECONDS = 60.0

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}


@dataclass(frozen=True)
class Mutation:
    """One mistake.

    Attributes:
        file: below the repository.
        line: from 1.
        before, after: the expression.
        text: of the file with it.
        tests: node ids of the fast tests that execute the line.
    """

    file: str
    line: int
    before: str
    after: str
    text: str
    tests: tuple[str, ...]


def mutated(node: ast.expr) -> ast.expr | None:  # noqa: PLR0911 (a table, as code)
    """The expression with a mistake; None if there is no possible one."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARED:
        ops = [_COMPARED[type(node.ops[0])](), *node.ops[1:]]
        return ast.Compare(node.left, ops, node.comparators)
    if isinstance(node, ast.BinOp) and type(node.op) in _CALCULATED and not _is_text(node):
        return ast.BinOp(node.left, _CALCULATED[type(node.op)](), node.right)
    if isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return ast.BoolOp(other, node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return node.operand
    if isinstance(node, ast.IfExp):
        return ast.IfExp(node.test, node.orelse, node.body)
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        return ast.Constant(not node.value)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return ast.Constant(node.value + 1)
    return None


def _is_text(node: ast.expr) -> bool:
    """Whether a sum puts texts together, or unites types."""
    return any(
        isinstance(one, ast.JoinedStr)
        or (isinstance(one, ast.Constant) and isinstance(one.value, str))
        for one in ast.walk(node)
    )


def expressions(tree: ast.Module) -> Iterator[ast.expr]:
    """What may be mutated: no annotations, strings, messages, or arguments of decorators."""

    def walk(node: ast.AST) -> Iterator[ast.expr]:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.JoinedStr | ast.Raise | ast.Assert) or not isinstance(
                    child, ast.AST
                ):
                    continue
                if isinstance(child, ast.expr):
                    yield child
                yield from walk(child)

    yield from walk(tree)


def covered_lines() -> dict[str, dict[int, list[str]]]:
    """File -> line -> the fast tests that execute it."""
    if Path(sys.path[0]) == ROOT / "benchmarks":
        del sys.path[0]  # `coverage` is the package, and not the benchmark of that name
    from coverage import CoverageData

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "coverage"
        environment = {**os.environ, "COVERAGE_FILE": str(data)}
        alone = ["-n", "0", "--dist", "no"]  # without the latter, no test's name is recorded
        command = ["-m", "pytest", "-q", *alone, "-p", "no:cacheprovider", "-m", "not slow"]
        covered = [f"--cov=ablate/{room}" for room in ROOMS]
        options = [*covered, "--cov-context=test", "--cov-report="]
        subprocess.run([sys.executable, *command, *options], cwd=ROOT, env=environment, check=True)
        read = CoverageData(str(data))
        read.read()
        return {
            str(Path(file).relative_to(ROOT)): {
                line: sorted({name.partition("|")[0] for name in names if name})
                for line, names in read.contexts_by_lineno(file).items()
            }
            for file in read.measured_files()
        }


def mutations(count: int, seed: int) -> list[Mutation]:
    """So many, drawn from every line that a fast test executes, each line once at most."""
    draw = random.Random(seed)
    found: dict[tuple[str, int], list[Mutation]] = {}
    for file, lines in sorted(covered_lines().items()):
        source = (ROOT / file).read_text()
        for node in expressions(ast.parse(source)):
            tests = lines.get(node.lineno, [])
            other = mutated(node)
            before = ast.get_source_segment(source, node)
            if other is None or not tests or before is None:
                continue
            after = f"({ast.unparse(ast.fix_missing_locations(other))})"
            start = _offset(source, node.lineno, node.col_offset)
            text = source[:start] + after + source[start + len(before) :]
            found.setdefault((file, node.lineno), []).append(
                Mutation(file, node.lineno, before, after, text, tuple(tests))
            )
    places = draw.sample(sorted(found), min(count, len(found)))
    return [draw.choice(found[place]) for place in places]


def _offset(source: str, line: int, column: int) -> int:
    lines = source.splitlines(keepends=True)
    return sum(map(len, lines[: line - 1])) + len(lines[line - 1].encode()[:column].decode())


def is_caught(mutation: Mutation, copy: Path) -> bool:
    """Whether a test fails on it.

    Args:
        copy: of the repository, for this mutation alone.
    """
    (copy / mutation.file).write_text(mutation.text)
    tests = mutation.tests
    if len(tests) > MOST_TESTS:
        tests = tuple(random.Random(mutation.line).sample(tests, MOST_TESTS))
    child = os.fork()
    if child == 0:
        _run_tests(copy, sorted(tests))
    deadline = time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status != 0
            time.sleep(0.05)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return True
    finally:
        shutil.copy(ROOT / mutation.file, copy / mutation.file)


def _run_tests(copy: Path, tests: list[str]) -> None:
    """In the child: never returns, whatever a mistake raises or interrupts."""
    status = 1
    try:
        import pytest

        os.setsid()
        os.chdir(copy)
        sys.path[:0] = [str(copy)]
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers"]
        status = int(pytest.main([*options, *tests]))
    finally:
        os._exit(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=200)
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began = time.monotonic()
    drawn = mutations(options.mutations, options.seed)
    print(f"{len(drawn)} mutations after {time.monotonic() - began:.0f} s", flush=True)
    for name in HEAVY:
        import_module(name)
    missed: list[Mutation] = []
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / str(number) for number in range(options.processes)]
        for copy in copies:
            _copy_repository(copy)

        def judge(numbered: tuple[int, Mutation]) -> None:
            number, mutation = numbered
            copy = copies.pop()
            try:
                caught = is_caught(mutation, copy)
            finally:
                copies.append(copy)
            if not caught:
                missed.append(mutation)
            where = f"{mutation.file}:{mutation.line}"
            said = "caught" if caught else f"MISSED {mutation.before} -> {mutation.after}"
            print(f"{number:3d} {where}: {said} ({len(mutation.tests)} tests)", flush=True)

        with ThreadPoolExecutor(options.processes) as pool:
            list(pool.map(judge, enumerate(drawn)))
    caught = len(drawn) - len(missed)
    print(f"\n{caught} of {len(drawn)} caught ({100 * caught / max(1, len(drawn)):.0f} %)")
    for one in sorted(missed, key=lambda one: (one.file, one.line)):
        print(f"| `{one.file}:{one.line}` | `{one.before}` | `{one.after}` | {len(one.tests)} |")
    print(f"{time.monotonic() - began:.0f} s")


def _copy_repository(copy: Path) -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)


if __name__ == "__main__":
    main()
