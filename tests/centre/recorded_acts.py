"""What the code records in the audit trail, read from its source: the names of acts, and of the facts told with them.

Followed are constants, both sides of `a if b else c`, module constants, f-strings of forms (`add_<model>`), and what
callers hand to a function that takes the act as an argument.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeGuard


class Text(ast.Constant):
    """A constant that is a text."""

    value: str


ROOT = Path(__file__).resolve().parents[2]
APPS = ("centre", "allocations", "subsidies")
RECORDS = {"record", "record_all"}


@dataclass
class Recorded:
    acts: set[str] = field(default_factory=set)
    facts: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)
    """Calls whose act could not be read, as `file:line`."""


@dataclass(frozen=True, eq=False)
class Module:
    path: Path
    tree: ast.Module

    @property
    def constants(self) -> dict[str, str]:
        return {
            target.id: node.value.value
            for node in self.tree.body
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Constant)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name) and isinstance(node.value.value, str)
        }

    @cached_property
    def functions(self) -> list[ast.FunctionDef]:
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)]

    @cached_property
    def calls(self) -> dict[str, list[tuple[ast.Call, ast.FunctionDef]]]:
        """Every call in a function, by the name that is called."""
        by_name: defaultdict[str, list[tuple[ast.Call, ast.FunctionDef]]] = defaultdict(list)
        for function in self.functions:
            for call in own_calls(function):
                by_name[named(call)].append((call, function))
        return by_name


def modules() -> Iterator[Module]:
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            if "migrations" not in path.parts:
                yield Module(path, ast.parse(path.read_text(encoding="utf-8")))


def recorded() -> Recorded:
    """Everything that the three apps record."""
    read = [*modules()]
    found = Recorded()
    for module in read:
        for name in RECORDS:
            for call, function in module.calls.get(name, ()):
                if (act := argument(call, "act")) is not None:
                    read_act(act, function, module, read, found)
                    found.facts |= facts_of(argument(call, "changes") or argument(call, "on"), function, module, read)
    return found


def own_calls(function: ast.FunctionDef) -> Iterator[ast.Call]:
    return (node for node in ast.walk(function) if isinstance(node, ast.Call))


def named(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def argument(call: ast.Call, name: str, place: int | None = None) -> ast.expr | None:
    given = next((word.value for word in call.keywords if word.arg == name), None)
    if given is None and place is not None and place < len(call.args):
        given = call.args[place]
    return given


def read_act(value: ast.expr, function: ast.FunctionDef, module: Module, read: list[Module], found: Recorded) -> None:
    """Add what an act may be."""
    if isinstance(value, ast.Constant):
        found.acts.add(str(value.value))
    elif isinstance(value, ast.IfExp):
        read_act(value.body, function, module, read, found)
        read_act(value.orelse, function, module, read, found)
    elif isinstance(value, ast.Name) and value.id in module.constants:
        found.acts.add(module.constants[value.id])
    elif isinstance(value, ast.Name) and (handed := [*handed_over(value.id, function, module, read)]):
        for given, caller, its_module in handed:
            read_act(given, caller, its_module, read, found)
    elif isinstance(value, ast.JoinedStr) and function.name == "record_save":
        return  # of a form: its words are in BY_FORM
    elif names := {*chosen_from(value, function, module)}:
        found.acts |= names
    else:
        found.unread.add(f"{module.path.relative_to(ROOT)}:{function.name}")


def chosen_from(value: ast.expr, function: ast.FunctionDef, module: Module) -> Iterator[str]:
    """What a variable of the function, or a mapping that is looked up, can give."""
    yield from texts_in(value)
    for source in assigned_to(names_in(value), [*ast.walk(function), *module.tree.body]):
        yield from texts_in(source)
        looked_up = {
            name for node in ast.walk(source) if isinstance(node, ast.Subscript) for name in names_in(node.value)
        }
        for mapping in assigned_to(looked_up, module.tree.body):
            yield from texts_in(mapping)


def names_in(value: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}


def texts_in(value: ast.AST) -> Iterator[str]:
    return (node.value for node in ast.walk(value) if is_text(node))


def assigned_to(names: set[str], among: Iterable[ast.AST]) -> Iterator[ast.expr]:
    """What these names are made of."""
    for node in among:
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.For)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            source = node.iter if isinstance(node, ast.For) else node.value
            if source is not None and names & {name for target in targets for name in names_in(target)}:
                yield source


def is_text(node: ast.AST) -> TypeGuard["Text"]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def handed_over(
    name: str, function: ast.FunctionDef, home: Module, read: list[Module]
) -> Iterator[tuple[ast.expr, ast.FunctionDef, Module]]:
    """What callers give for a parameter of a function."""
    places = [each.arg for each in function.args.args]
    if name not in [*places, *(each.arg for each in function.args.kwonlyargs)]:
        return
    place = places.index(name) if name in places else None
    for module in read:
        for call, caller in module.calls.get(function.name, ()):
            if is_call_of(call, function, home, module) and (given := argument(call, name, place)) is not None:
                yield given, caller, module


def is_call_of(call: ast.Call, function: ast.FunctionDef, home: Module, module: Module) -> bool:
    """By its bare name at home and where it is imported, elsewhere behind the name of its module."""
    if named(call) != function.name:
        return False
    if isinstance(call.func, ast.Name):
        return module.path == home.path or home.path.stem in {
            str(node.module).rpartition(".")[2]
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ImportFrom) and function.name in {alias.name for alias in node.names}
        }
    return isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == home.path.stem


def facts_of(value: ast.expr | None, function: ast.FunctionDef, module: Module, read: list[Module]) -> set[str]:
    """The keys of what is told with an act: of the mapping itself, or of all that its name stands for."""
    if value is None:
        return set()
    found = {*keys_in(value)}
    names = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
    found |= {*assigned_keys(names, function)}
    own = {each.arg for each in (*function.args.args, *function.args.kwonlyargs)}
    if function.args.kwarg is not None and function.args.kwarg.arg in names:
        for its_module in read:
            for call, _caller in its_module.calls.get(function.name, ()):
                if is_call_of(call, function, module, its_module):
                    found |= {word.arg for word in call.keywords if word.arg and word.arg not in own}
    for name in names:
        for given, caller, its_module in handed_over(name, function, module, read):
            if caller is not function:
                found |= facts_of(given, caller, its_module, read)
    return found


def assigned_keys(names: set[str], function: ast.FunctionDef) -> Iterator[str]:
    """The keys of what is assigned to these names, or to a key of theirs."""
    for node in ast.walk(function):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and target.id in names:
                    yield from keys_in(node.value)
                if isinstance(target, ast.Subscript) and getattr(target.value, "id", "") in names:
                    yield from (key.value for key in [target.slice] if is_text(key))


def keys_in(value: ast.expr) -> Iterator[str]:
    for node in ast.walk(value):
        if isinstance(node, ast.Dict):
            yield from (key.value for key in node.keys if key is not None and is_text(key))
