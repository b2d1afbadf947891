"""The house keeps its own measures: small functions, small modules, no doors that must stay shut."""

import ast
import re

from tests.house.source import body_lines, functions, modules

MOST_BODY_LINES = 40
MOST_MODULE_LINES = 400

BAD_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "core", "misc"}

BROAD = {
    "api/broadcast.py": "the edge of a turn of the feed's reader, logged: watchers go on",
    "api/door.py": "the edge of a request, logged: the caller gets a plain 500",
    "api/workers.py": "what a piece of work raised is handed on to who asked for it",
    "recipes/registry.py": "whatever a foreign recipe raises when it is loaded becomes a fault of the request",
    "scheduler/attempts.py": "the edge of what is done for one attempt, logged: the others must go on",
    "scheduler/loop.py": "the edge of a tick, logged; and what a caller's work raised, handed on to them",
    "scheduler/tidying.py": "the edge of a thread, logged: nothing else depends on it",
    "store/sql.py": "a listener that fails must not make a durable write look failed; logged",
    "supervisor/gate.py": "the child between fork and exec has no one to raise to",
    "supervisor/loop.py": "the edge of a turn, reported: one failed turn must not leave the tree unowned",
    "supervisor/stacks.py": "the child that writes the stacks down has no one to raise to",
    "trainer/__main__.py": "the edge of training: whatever it was is told in outcome.json",
}
"""Where a broad `except` that does not end in `raise` may stand, and why."""

FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.load", "tempfile.mktemp", "input"}
EXCUSED_CALLS = {("cli/jobfile.py", "yaml.load"): "its loader is a SafeLoader that knows still fewer words"}
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}


def dotted(node):
    """Give the dotted name that an expression is, empty if it is none."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{dotted(node.value)}.{node.attr}"
    return ""


def every(kind):
    """Give every node of one kind, with the name of its module."""
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, kind):
                yield module.name, node


def place(name, node):
    return f"{name}:{node.lineno}"


def test_there_is_something_to_measure():
    assert len(modules()) > 60
    assert sum(len(functions(module)) for module in modules()) > 300


def test_no_function_is_too_long():
    long = {
        f"{module.name}:{function.name}": body_lines(function)
        for module in modules()
        for function in functions(module)
        if body_lines(function) > MOST_BODY_LINES
    }

    assert long == {}


def test_no_module_is_too_long():
    lengths = {module.name: module.text.count("\n") for module in modules()}

    assert {name: lines for name, lines in lengths.items() if lines > MOST_MODULE_LINES} == {}


def test_no_module_has_a_name_that_says_nothing():
    assert [m.name for m in modules() if set(m.name.removesuffix(".py").split("/")) & BAD_NAMES] == []


def test_every_module_opens_with_a_sentence():
    openings = {module.name: (ast.get_docstring(module.tree) or "").split("\n\n")[0].strip() for module in modules()}

    assert {name: opening for name, opening in openings.items() if not re.search(r"[.:]$", opening)} == {}


def test_every_public_function_says_what_it_does():
    bare = []
    for module in modules():
        nested = {inner for outer in functions(module) for inner in ast.walk(outer) if inner is not outer}
        for function in functions(module):
            is_public = not function.name.startswith("_") and function not in nested
            if is_public and not ast.get_docstring(function):
                bare.append(f"{module.name}:{function.name}")

    assert bare == []


# What is caught


def is_broad(handler):
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or dotted(kind) in ("Exception", "BaseException") for kind in kinds)


def raises_again(handler):
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_nothing_is_caught_without_a_name_or_passed_over_in_silence():
    bare = [place(name, handler) for name, handler in every(ast.ExceptHandler) if handler.type is None]
    silent = [
        place(name, handler)
        for name, handler in every(ast.ExceptHandler)
        if is_broad(handler) and all(isinstance(step, ast.Pass) for step in handler.body)
    ]

    assert bare == []
    assert silent == []


def test_nothing_is_caught_broadly_but_at_the_edges_that_are_listed():
    broad = {name for name, handler in every(ast.ExceptHandler) if is_broad(handler) and not raises_again(handler)}

    assert broad - BROAD.keys() == set()


def test_the_list_of_edges_names_no_place_that_has_none():
    broad = {name for name, handler in every(ast.ExceptHandler) if is_broad(handler)}

    assert BROAD.keys() - broad == set()


# What is run


def gives_other_than(call, name, allowed):
    """Tell whether a call gives a keyword a value that is not the allowed constant."""
    return any(
        keyword.arg == name and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is allowed)
        for keyword in call.keywords
    )


def test_nothing_is_run_by_a_shell():
    assert [place(name, call) for name, call in every(ast.Call) if gives_other_than(call, "shell", False)] == []


def test_no_data_is_run_as_code():
    called = {(name, dotted(call.func)) for name, call in every(ast.Call)}
    unsafe = [place(name, call) for name, call in every(ast.Call) if gives_other_than(call, "weights_only", True)]

    assert {(name, call) for name, call in called if call in FORBIDDEN_CALLS} == EXCUSED_CALLS.keys()
    assert unsafe == []


def test_nothing_is_imported_that_runs_what_it_reads():
    imported = {(name, alias.name.split(".")[0]) for name, node in every(ast.Import) for alias in node.names}
    imported |= {(name, (node.module or "").split(".")[0]) for name, node in every(ast.ImportFrom) if not node.level}

    assert [(name, module) for name, module in imported if module in FORBIDDEN_IMPORTS] == []
