"""Mutants: small faults, derived from the syntax of the programs' sources.

A mutant removes a check, a call or an assignment, loosens a comparison or an arithmetic check,
decides a condition, or moves a constant. Tests that pass in spite of it do not test that place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import tree_sitter_rust
from tree_sitter import Language, Node, Parser

LANGUAGE = Language(tree_sitter_rust.language())
PROGRAMS = ("collateral_vault", "position_manager", "yield_pool")
SOURCES = ("sdk", *PROGRAMS)

LOOSENED = {"<": "<=", ">": ">=", "<=": "<", ">=": ">"}
WRAPPING = {
    "checked_add": "Some({0}.wrapping_add({1}))",
    "checked_sub": "Some({0}.wrapping_sub({1}))",
    "saturating_add": "{0}.wrapping_add({1})",
    "saturating_sub": "{0}.wrapping_sub({1})",
    "min": "{0}",
    "max": "{0}",
}
INTEGERS = {"u8", "u16", "u32", "u64", "usize", "i64"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A replacement of the bytes from `start` to `end` of a file in program/."""

    file: str
    function: str
    line: int
    start: int
    end: int
    before: str
    after: str

    @property
    def key(self) -> str:
        """What it changes, without a position, so that it stays the same while other code moves."""
        return f"{self.file} {self.function}: {flat(self.before)} -> {flat(self.after)}"

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs whose bytes it may change."""
        crate = self.file.partition("/")[0]
        return PROGRAMS if crate == "sdk" else (crate,)

    @property
    def order(self) -> str:
        """A position in a shuffled order that does not change while the mutant is the same."""
        return sha256(self.key.encode()).hexdigest()

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.end :]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {flat(self.before)} -> {flat(self.after) or 'nothing'}"


def flat(code: str) -> str:
    return " ".join(code.split())


def derive(root: Path) -> list[Mutant]:
    """Return the mutants of every source in `root`, the folder of the programs."""
    files = [path for crate in SOURCES for path in sorted((root / crate / "src").rglob("*.rs"))]
    return [
        mutant
        for path in files
        for mutant in derive_from(path.read_bytes(), str(path.relative_to(root)))
    ]


def derive_from(source: bytes, file: str) -> list[Mutant]:
    tree = Parser(LANGUAGE).parse(source)
    mutants = {}
    for node, after in changes(tree.root_node):
        mutant = Mutant(
            file=file,
            function=function_of(node),
            line=node.start_point.row + 1,
            start=node.start_byte,
            end=node.end_byte,
            before=text(node),
            after=after,
        )
        mutants[mutant.start, mutant.end, mutant.after] = mutant
    return list(mutants.values())


def changes(node: Node) -> Iterator[tuple[Node, str]]:
    """Yield each node that a mutant replaces, and by what."""
    if node.type in {"attribute_item", "macro_definition", "token_tree"} or is_const_fn(node):
        return
    if change := CHANGES.get(node.type):
        yield from change(node)
    if node.type != "const_item":
        for child in node.named_children:
            yield from changes(child)


def statement(node: Node) -> Iterator[tuple[Node, str]]:
    inner = node.named_children[0]
    if inner.type == "try_expression":
        inner = inner.named_children[0]
    if inner.type in {"call_expression", "assignment_expression", "compound_assignment_expr"}:
        yield node, ""
    if inner.type == "if_expression" and is_check(inner):
        yield node, ""


def condition(node: Node) -> Iterator[tuple[Node, str]]:
    condition = part(node, "condition")
    alternative = node.child_by_field_name("alternative")
    if condition.type in {"let_condition", "let_chain"} or is_check(node):
        return
    if alternative is not None and flat(text(alternative)).startswith("else { Err("):
        yield node, text(part(node, "consequence"))
        return
    yield condition, "true"
    yield condition, "false"


def loop(node: Node) -> Iterator[tuple[Node, str]]:
    yield part(node, "condition"), "false"


def binary(node: Node) -> Iterator[tuple[Node, str]]:
    left, right = text(part(node, "left")), text(part(node, "right"))
    match text(part(node, "operator")):
        case "==" | "!=" if not is_operand(node) and not is_condition(node):
            yield node, "true"
            yield node, "false"
        case "&&" | "||" as operator:
            yield node, left
            if operator != operator_of(part(node, "left")):
                yield node, right
        case operator if operator in LOOSENED:
            yield node, f"{left} {LOOSENED[operator]} {right}"


def call(node: Node) -> Iterator[tuple[Node, str]]:
    called, arguments = part(node, "function"), part(node, "arguments").named_children
    if called.type != "field_expression" or len(arguments) != 1:
        return
    if template := WRAPPING.get(text(part(called, "field"))):
        yield node, template.format(text(part(called, "value")), text(arguments[0]))


def constant(node: Node) -> Iterator[tuple[Node, str]]:
    value = node.child_by_field_name("value")
    if value is not None and text(part(node, "type")) in INTEGERS:
        yield value, f"({text(value)}) + 1"
        yield value, f"({text(value)}) - 1"


def boolean(node: Node) -> Iterator[tuple[Node, str]]:
    yield node, {"true": "false", "false": "true"}[text(node)]


def function(node: Node) -> Iterator[tuple[Node, str]]:
    """A check that stands last: its result is the function's."""
    body, kind = node.child_by_field_name("body"), node.child_by_field_name("return_type")
    if body is None or kind is None or text(kind) != "Result" or not body.named_children:
        return
    last = body.named_children[-1]
    if last.type == "call_expression" and text(part(last, "function")) not in {"Ok", "Err"}:
        yield last, "Ok(())"


CHANGES: dict[str, Callable[[Node], Iterator[tuple[Node, str]]]] = {
    "expression_statement": statement,
    "if_expression": condition,
    "while_expression": loop,
    "binary_expression": binary,
    "call_expression": call,
    "const_item": constant,
    "boolean_literal": boolean,
    "function_item": function,
}


def is_const_fn(node: Node) -> bool:
    """Return True for a function that the compiler runs, and checks with assertions."""
    modifiers = [text(each) for each in node.children if each.type == "function_modifiers"]
    return node.type == "function_item" and "const" in " ".join(modifiers).split()


def is_check(node: Node) -> bool:
    """Return True for an `if` that does nothing but refuse."""
    if node.child_by_field_name("alternative") is not None:
        return False
    return flat(text(part(node, "consequence"))).startswith("{ return Err(")


def is_condition(node: Node) -> bool:
    parent = node.parent
    return (
        parent is not None
        and parent.type in {"if_expression", "while_expression"}
        and parent.child_by_field_name("condition") == node
    )


def operator_of(node: Node) -> str:
    return text(part(node, "operator")) if node.type == "binary_expression" else ""


def is_operand(node: Node) -> bool:
    """Return True for what is dropped, or decides the whole, in another mutant."""
    return node.parent is not None and operator_of(node.parent) in {"&&", "||"}


def function_of(node: Node) -> str:
    """Return the name of the function or constant that contains the node."""
    around: Node | None = node
    while around is not None and around.type not in {"function_item", "const_item"}:
        around = around.parent
    return "" if around is None else text(part(around, "name"))


def part(node: Node, field: str) -> Node:
    found = node.child_by_field_name(field)
    assert found is not None, f"{node.type} has no {field}"
    return found


def text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()
