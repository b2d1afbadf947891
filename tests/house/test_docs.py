"""The documentation tells of what is there: its links, commands, flags, routes, paths, tests and tables."""

import functools
import re
import sys
from dataclasses import fields

import click
import pytest

from stoker.api.app import create_app
from stoker.api.shapes import CheckpointRequest, PriorityRequest
from stoker.bootstrap import build
from stoker.cli import exits
from stoker.cli.main import COMMANDS, stoker
from stoker.domain.failure import Reason
from stoker.domain.job import Job
from stoker.domain.spec import JobSpec
from stoker.domain.states import JobState
from stoker.service.keys import KeyRequest
from stoker.service.request import LimitsRequest, SubmitRequest
from stoker.service.view import full
from stoker.settings import Settings
from tests.house.source import ROOT, modules, tracked

sys.path.insert(0, str(ROOT / "scripts"))
import finetune_reference

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?<![\w./-])stoker ([a-z][a-z-]+)(?: (create|list|revoke)\b)?(?![\w/.:])")
ROUTE = re.compile(r"\b(GET|POST|DELETE|PUT|PATCH|WS|HEAD)\s+(/(?:api|ws|health|ready|metrics|openapi)[\w/{}.-]*)")
TEST = re.compile(r"\btest_[a-z0-9_]+\b(?!\.py)")
PLACES = ("src/", "tests/", "docs/", "scripts/", "packaging/")
FLOORS = ("api/", "cli/", "client/", "domain/", "engines/", "recipes/", "rundir/", "scheduler/", "service/", "store/",
          "supervisor/", "trainer/", "bootstrap.py", "settings.py", "logs.py")  # fmt: skip
UNSEEN = {"conflict", "home-unusable"}
"""Words of refusals that no request meets: a family, and what ends a server at its start."""

EXAMPLES = re.compile(r"[<*]")
"""A path with these stands for several."""


@functools.cache
def pages():
    """Give every tracked page by its name."""
    return {str(path.relative_to(ROOT)): path.read_text() for path in tracked() if path.suffix == ".md"}


def every(pattern):
    """Give each match in each page, with the page's name."""
    return [(name, match) for name, text in pages().items() for match in pattern.finditer(text)]


def anchors(page):
    """Give the anchors of a page's headings, as they are made from their words."""
    headings = re.findall(r"^#+ (.+)$", CODE_BLOCK.sub("", (ROOT / page).read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(page, target):
    path, _, anchor = target.partition("#")
    place = (ROOT / page).parent / path if path else ROOT / page
    if not place.exists():
        return False
    return not anchor or anchor in anchors(place.resolve().relative_to(ROOT))


def test_there_are_pages_of_every_kind():
    for kind in ("tutorial", "how-to", "reference", "explanation", "adr"):
        assert any(name.startswith(f"docs/{kind}/") for name in pages()), kind


def test_every_link_leads_somewhere():
    links = [(name, match[1]) for name, match in every(LINK) if not match[1].startswith(("http:", "https:"))]

    assert len(links) > 50
    assert [(name, target) for name, target in links if not leads_somewhere(name, target)] == []


def test_every_page_of_the_documentation_is_listed():
    listed = {match[1].partition("#")[0] for match in LINK.finditer(pages()["docs/README.md"])}
    kinds = re.compile(r"docs/((?:tutorial|how-to|reference|explanation)/.+)")
    written = {match[1] for match in map(kinds.fullmatch, pages()) if match}

    assert len(written) > 10
    assert written - listed == set()


def test_every_decision_is_listed():
    listed = {match[1] for match in LINK.finditer(pages()["docs/adr/README.md"])}
    written = {name.removeprefix("docs/adr/") for name in pages() if re.match(r"docs/adr/\d", name)}

    assert written == listed


def test_the_readme_is_short():
    assert pages()["README.md"].count("\n") <= 120


# Commands


@functools.cache
def commands():
    """Give every command by its words."""
    found = {}
    for name in COMMANDS:
        command = stoker.get_command(click.Context(stoker), name)
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {word}": inner for word, inner in command.commands.items()}
    return found


def named_commands(text):
    """Give the commands that a page names in its code, inline or in blocks, comments left out."""
    blocks = [re.sub(r"#.*", "", block) for block in CODE_BLOCK.findall(text)]
    code = " \n".join([*blocks, *INLINE_CODE.findall(CODE_BLOCK.sub("", text))])
    return {" ".join(filter(None, match.groups())) for match in COMMAND.finditer(code)}


def test_every_command_that_is_named_exists():
    named = {(page, command) for page, text in pages().items() for command in named_commands(text)}

    assert len(named) > 40
    assert {(page, command) for page, command in named if command not in commands()} == set()


def test_the_reference_names_every_command_flag_and_exit_code():
    page = pages()["docs/reference/command-line.md"] + pages()["docs/reference/settings.md"]
    flags = {
        flag
        for command in commands().values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("--") and flag != "--help"
    }

    assert [name for name in commands() if f"stoker {name}" not in page and name != "keys"] == []
    assert [flag for flag in sorted(flags) if not re.search(rf"{flag}\b", page)] == []
    assert [code for code in exits.Exit if f"| {code.value} |" not in page] == []


def test_the_documented_flags_exist():
    page = pages()["docs/reference/command-line.md"]
    known = {flag for command in commands().values() for p in command.params for flag in (*p.opts, *p.secondary_opts)}

    assert {flag for flag in re.findall(r"--[a-z][a-z-]+", page) if flag not in known | {"--help"}} == set()


# Routes


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    """Give every route of the application, as method and path."""
    house = build(Settings(home=tmp_path_factory.mktemp("home")))
    try:
        found = create_app(house.context, is_ready=lambda: True).routes
    finally:
        house.__exit__(None, None, None)
    return {f"{method} {route.path}" for route in found for method in getattr(route, "methods", None) or ("WS",)}


def shape(route):
    """Give a route with every parameter alike, whatever it is called or filled with."""
    return re.sub(r"\{\w+\}", "{}", route.rstrip("."))


def test_every_route_that_is_named_exists(routes):
    shapes = {shape(route) for route in routes}
    named = {(name, f"{match[1]} {match[2]}") for name, match in every(ROUTE)}

    assert len(named) > 25
    assert {(name, route) for name, route in named if shape(route) not in shapes} == set()


def test_the_reference_names_every_route(routes):
    page = pages()["docs/reference/http-api.md"]
    missing = {route for route in routes if f"`{route}`" not in page and not route.startswith("HEAD ")}

    assert missing - {"GET /openapi.json"} == set()


def test_the_reference_names_every_field_of_a_job():
    job = Job(id="a", owner="b", spec=JobSpec(), state=JobState.QUEUED, created_at=0.0, updated_at=0.0, sequence=1)
    page = pages()["docs/reference/http-api.md"]

    assert [field for field in full(job, None, None) if f"`{field}`" not in page] == []


@pytest.mark.parametrize("request_of", [SubmitRequest, LimitsRequest, KeyRequest, PriorityRequest, CheckpointRequest])
def test_the_reference_names_every_field_of_a_request(request_of):
    page = pages()["docs/reference/http-api.md"]

    assert [one.name for one in fields(request_of) if not re.search(rf"[`\"]{one.name}[`\"]", page)] == []


def test_the_reference_names_every_refusal():
    page = pages()["docs/reference/http-api.md"]
    sources = [module.text for module in modules() if module.name.startswith("api/")]
    words = {word for text in sources for word in re.findall(r"HTTPStatus\.[A-Z_]+(?:, |: \()\"([a-z-]+)\"", text)}

    assert len(words) > 20
    assert {word for word in words - UNSEEN if f"`{word}`" not in page} == set()


def test_the_reference_names_every_setting():
    page = pages()["docs/reference/settings.md"]
    named = {one.name for one in fields(Settings)} - {"feed_keep"}

    assert [name for name in named if f"`STOKER_{name.upper()}`" not in page] == []


def test_every_variable_that_is_named_exists():
    source = "".join(module.text for module in modules())
    settings = {f"STOKER_{one.name.upper()}" for one in fields(Settings)}
    named = {(name, match[0]) for name, match in every(re.compile(r"\bSTOKER_[A-Z_]+\b"))}

    assert {
        (name, variable) for name, variable in named if variable not in settings and variable not in source
    } == set()


def test_the_reference_names_every_reason():
    page = pages()["docs/how-to/find-out-why-a-job-failed.md"]

    assert [reason for reason in Reason if f"| `{reason}` |" not in page] == []


# Paths, tests, tables


def looks_like_a_path(code):
    is_place = code.startswith((*PLACES, *FLOORS)) or re.fullmatch(r"[A-Z]+\.md", code)
    return is_place and re.fullmatch(r"[\w./-]+", code)


def exists(code):
    return (ROOT / code).exists() or (ROOT / "src" / "stoker" / code).exists()


def test_every_path_that_is_named_exists():
    named = {(name, match[1]) for name, match in every(INLINE_CODE) if not EXAMPLES.search(match[1])}
    paths = {(name, code) for name, code in named if looks_like_a_path(code)}

    assert len(paths) > 25
    assert {(name, code) for name, code in paths if not exists(code)} == set()


def test_every_test_that_is_named_exists():
    written = "\n".join(path.read_text() for path in tracked() if path.match("tests/**/*.py"))
    named = {(name, match[0]) for name, match in every(TEST)}

    assert len(named) > 20
    assert {(name, test) for name, test in named if f"def {test}(" not in written} == set()


def test_the_tables_of_the_config_are_those_of_the_code():
    page = pages()["docs/reference/finetune-config.md"]

    assert page == finetune_reference.renewed(page), "run scripts/finetune_reference.py"
