"""The general mutator: every small mistake that a rule makes in a module, one at a time.

not        a condition is turned round
compare    == and !=, < and <=, > and >=, in and not in, is and is not change places
and/or     the one becomes the other
number     a number is one larger
call       a call whose result nobody uses is left out (a sync, a check, a seal)
raise      an error is not raised
return     a value is not returned; True and False change places
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SWAPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip

# Mistakes here change nothing that anybody promises.
HARMLESS_CALLS = ("sync_point", "log.")


Place = tuple[str, ast.AST, Callable[[], None]]
"""(rule, what is changed, what changes it)"""


@dataclass(frozen=True)
class Mutation:
    """One change: where, what stood in that line, and the text of the whole module with it."""

    line: int
    rule: str
    before: str
    there: str
    text: str


def mutations(path: Path) -> Iterator[Mutation]:
    source = path.read_text()
    lines, tree = source.splitlines(), ast.parse(source)
    count = len(list(_places(tree)))
    for number in range(count):
        changed = copy.deepcopy(tree)
        rule, node, change = list(_places(changed))[number]
        before = ast.unparse(node).splitlines()[0]
        change()
        line = getattr(node, "lineno", 0)
        text = ast.unparse(ast.fix_missing_locations(changed))
        yield Mutation(line, rule, before, lines[line - 1].strip(), text)


def _places(tree: ast.Module) -> Iterator[Place]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for at, statement in enumerate(function.body):
                yield from _of_statement(function.body, at, statement)
            for node in _inside(function):
                yield from _of_node(node)


def _inside(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of its body, but for those of functions in it: they come by themselves."""
    pending: list[ast.AST] = list(reversed(function.body))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AnnAssign):
            if isinstance(node, ast.AnnAssign) and node.value is not None:
                pending.append(node.value)
            continue
        yield node
        pending += reversed(list(ast.iter_child_nodes(node)))


def _of_node(node: ast.AST) -> Iterator[Place]:
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield "not", node.test, lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Compare):
        swap = [SWAPPED[type(op)]() for op in node.ops]
        yield "compare", node, lambda: setattr(node, "ops", swap)
    if isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "and/or", node, lambda: setattr(node, "op", other)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield "number", node, lambda: setattr(node, "value", int(node.value) + 1)
    for field in ("body", "orelse", "finalbody"):
        body = getattr(node, field, None)
        if isinstance(body, list) and not isinstance(node, ast.ClassDef):
            for at, statement in enumerate(body):
                yield from _of_statement(body, at, statement)


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _another(value: ast.expr | None) -> ast.expr | None:
    """None, where that is not as good as False."""
    if isinstance(value, ast.Constant) and isinstance(value.value, bool):
        return ast.Constant(not value.value)
    return None


def _of_statement(body: list[ast.stmt], at: int, statement: ast.stmt) -> Iterator[Place]:
    def leave_out() -> None:
        body[at] = ast.Pass()

    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        if not ast.unparse(statement).startswith(HARMLESS_CALLS):
            yield "call", statement, leave_out
    if isinstance(statement, ast.Raise):
        yield "raise", statement, leave_out
    if isinstance(statement, ast.Return) and not _is_none(statement.value):
        yield "return", statement, lambda: setattr(statement, "value", _another(statement.value))
