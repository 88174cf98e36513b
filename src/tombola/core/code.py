"""The code of a function as a text that only a change of what it does changes: no comments, docstrings, formatting or places."""

import ast
import dis
import linecache
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import resolve_name
from types import CodeType, FunctionType
from typing import Any

_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # as in a cell of a notebook
_kept: dict[CodeType, tuple[str, str]] = {}
"""Of a code object, once and for all: its file may be edited while the process goes on with what it has read."""


def code_of(function: FunctionType) -> str:
    """The syntax tree of a function; where its source cannot be had, or has been edited since, its bytecode.

    Syntax trees are alike for all versions of Python, bytecode is not.
    """
    return _code(function)[0]


def source_of(function: FunctionType) -> str:
    """The text of the file or cell that a function was read from; empty where that cannot be had."""
    return _code(function)[1]


def _code(function: FunctionType) -> tuple[str, str]:
    code = function.__code__
    if code not in _kept:
        linecache.checkcache(code.co_filename)
        text = "".join(linecache.getlines(code.co_filename, function.__globals__))
        node = _node(code, text)
        _kept[code] = (_bytecode(code), "") if node is None else (_tree(node), text)
    return _kept[code]


# -- from source ------------------------------------------------------------------------------------------------------


def _node(code: CodeType, text: str) -> ast.AST | None:
    """The function in the text that compiles to just this code, wherever it stands there."""
    try:
        functions = _functions(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    same = [node for node, other in functions.get(code.co_name, ()) if _content(other) == _content(code)]
    return same[0] if same else None


@lru_cache(maxsize=256)
def _functions(text: str) -> dict[str, list[tuple[ast.AST, CodeType]]]:
    """Name -> the functions of that name in a text, with what each is compiled to."""
    starts: dict[tuple[str, int], list[Any]] = {}
    for node in ast.walk(compile(text, "<source>", "exec", _FLAGS | ast.PyCF_ONLY_AST, dont_inherit=True)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            starts.setdefault((node.name, min([node.lineno, *(one.lineno for one in node.decorator_list)])), []).append(node)
        elif isinstance(node, ast.Lambda):
            starts.setdefault(("<lambda>", node.lineno), []).append(node)
    found: dict[str, list[tuple[ast.AST, CodeType]]] = {}
    for code in _nested(compile(text, "<source>", "exec", _FLAGS, dont_inherit=True)):
        for node in starts.get((code.co_name, code.co_firstlineno), ()):
            if _within(code, node):
                found.setdefault(code.co_name, []).append((node, code))
    return found


def _within(code: CodeType, node: Any) -> bool:
    """Whether a lambda is the one that was compiled: several may begin in one line."""
    if not isinstance(node, ast.Lambda):
        return True
    begin, end = (node.body.lineno, node.body.col_offset), (node.body.end_lineno, node.body.end_col_offset)
    places = [((line, column), (last, end)) for line, last, column, end in code.co_positions() if None not in (line, last, column, end)]
    return max((place[1] for place in places), default=()) == end and min(place[0] for place in places if place[0] != place[1]) >= begin


def _tree(node: ast.AST) -> str:
    """A syntax tree without decorators (what they made is looked at, not what they are called), name and docstring."""
    if isinstance(node, ast.Lambda):
        return f"lambda({_dump(node.args)}, {_dump(node.body)})"
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return f"{type(node).__name__}({_dump(node.args)}, {_dump(_without_docstring(node.body))})"


def _dump(node: Any) -> str:
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    if not isinstance(node, ast.AST):
        return f"{type(node).__name__} {node!r}"
    fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, []) or isinstance(node, ast.Constant)]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        fields = [(name, _without_docstring(value) if name == "body" else value) for name, value in fields]
    return f"{type(node).__name__}({', '.join(f'{name}={_dump(value)}' for name, value in fields if name not in ('ctx', 'kind'))})"


def _without_docstring(body: list[Any]) -> list[Any]:
    first = body[0]
    return (
        body[1:] if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str) else body
    )


# -- from bytecode ----------------------------------------------------------------------------------------------------


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _content(code: CodeType) -> tuple[Any, ...]:
    """All of a code object but where it stands."""
    constants = tuple(_content(one) if isinstance(one, CodeType) else (type(one), repr(one)) for one in code.co_consts)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return code.co_name, code.co_code, constants, names, counts, code.co_exceptiontable


def _bytecode(code: CodeType) -> str:
    constants = [_bytecode(one) if isinstance(one, CodeType) else f"{type(one).__name__} {one!r}" for one in code.co_consts]
    if constants and isinstance(code.co_consts[0], str) and _has_docstring(code):
        constants[0] = "NoneType None"
    _, compiled, _, *others = _content(code)
    return f"bytecode({compiled.hex()}, {constants}, {others})"


def _has_docstring(code: CodeType) -> bool:
    """Before Python 3.13 a function's first constant is its docstring or None; since then a flag says so."""
    flag = {name: value for value, name in dis.COMPILER_FLAG_NAMES.items()}.get("HAS_DOCSTRING")
    return not code.co_name.startswith("<") if flag is None else bool(code.co_flags & flag)


# -- what a function refers to ----------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def chains(code: CodeType) -> list[tuple[str, ...]]:
    """The names that a function and those within it read, each with the attributes taken of it: ("global", "helper", "block").

    The first says what kind of name it is: ``global``, ``local``, or "" where attributes are taken of what has no name.
    """
    found: dict[tuple[str, ...], None] = {}
    for one in _nested(code):
        chain: tuple[str, ...] = ()
        for instruction in dis.get_instructions(one):
            name, read = instruction.argval, instruction.opname
            if read in ("LOAD_ATTR", "LOAD_METHOD"):
                chain = (*(chain or ("",)), name)
                continue
            if chain:
                found[chain] = None
            if read in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
                chain = ("global", name)
            elif "LOAD_FAST" in read or read in ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"):
                chain = ("local", name[-1] if isinstance(name, tuple) else name)
            else:
                chain = ()
    return sorted(found)


def names_used(code: CodeType) -> list[tuple[str, ...]]:
    """The global names among them, each with the attributes taken of it: ("helper", "block")."""
    return [tuple(names) for kind, *names in chains(code) if kind == "global"]


@lru_cache(maxsize=4096)
def imports_bound(code: CodeType) -> dict[str, tuple[str, list[str]]]:
    """Local name -> (module, [what is taken of it]), for the imports that a function and those within it make."""
    found: dict[str, tuple[str, list[str]]] = {}
    for one in _nested(code):
        module, names, constants = "", None, [None]
        taken: list[str] = []
        for instruction in dis.get_instructions(one):
            read, name = instruction.opname, instruction.argval
            if read == "LOAD_CONST":
                constants.append(name)
            elif read == "IMPORT_NAME":
                module, names, taken = name, constants[-1], []
            elif read == "IMPORT_FROM":
                taken = [name]
            elif module and read.startswith("STORE_"):
                whole = module if taken else module.partition(".")[0]
                found[name[0] if isinstance(name, tuple) else name] = (module, taken) if names else (whole, [])
            elif read not in ("SWAP", "POP_TOP"):
                module = ""
    return found


def imports_made(function: FunctionType) -> list[tuple[str, tuple[str, ...]]]:
    """Modules that a function imports while it runs, by their full names, with the names that are taken from each."""
    package, found = function.__globals__.get("__package__") or "", set()
    for one in _nested(function.__code__):
        constants: list[Any] = []
        for instruction in dis.get_instructions(one):
            if instruction.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
                constants.append(instruction.argval)
            elif instruction.opname == "IMPORT_NAME":
                level, names = constants[-2:]
                if package or not level:
                    found.add((resolve_name("." * level + instruction.argval, package) if level else instruction.argval, names or ()))
    return sorted(found)
