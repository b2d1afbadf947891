"""What is committed speaks of the project alone: no machine, no mirror, no note to oneself."""

import re

import pytest

from tests.house.source import ROOT, tracked


def spelled(*parts):
    """Join parts that would be found here if they were written as one."""
    return "".join(parts)


PLACES = re.compile(
    "|".join(
        [
            spelled("/wo", "rk/"),
            spelled("/ro", "ot/(?!secret)"),
            spelled("/opt/", "(?:pypi|wheels)"),
            spelled("/ho", "me/(?!ada|user|you|me)[a-z]"),
            spelled("/Us", "ers/[A-Za-z]"),
        ]
    )
)
"""Places of a machine on which somebody worked; Ada is the user of the examples, and the secret is made up."""

HOSTS = re.compile(
    "|".join(
        [
            spelled(r"\bpypi\.", r"org"),
            spelled("python", r"hosted\.org"),
            spelled(r"registry\.", r"npm"),
            spelled(r"crates\.", r"io/api"),
            spelled(r"proxy\.", r"golang"),
            spelled(r"//(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))", r"\.\d"),
        ]
    )
)
"""Registries and mirrors: which one is used is the user's own setting."""

NOTES = re.compile(spelled(r"\b(?:TO", "DO|FIX", "ME|XX", "X|HA", r"CK)\b"))


def lines():
    """Give every line of every tracked text file, with its place."""
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            yield f"{path.relative_to(ROOT)}:{number}", line


@pytest.mark.parametrize(
    "pattern", [PLACES, HOSTS, NOTES], ids=["places of a machine", "registry hosts", "notes to oneself"]
)
def test_nothing_committed_holds(pattern):
    assert {place: line.strip() for place, line in lines() if pattern.search(line)} == {}


def test_every_pattern_finds_what_it_is_for():
    assert PLACES.search(spelled("see /wo", "rk/main"))
    assert PLACES.search(spelled("/ho", "me/bob/x"))
    assert not PLACES.search("/home/ada/x")
    assert HOSTS.search(spelled("https://pypi", ".org/simple"))
    assert HOSTS.search(spelled("http://10", ".0.0.1:8080"))
    assert not HOSTS.search("http://127.0.0.1:8000")
    assert NOTES.search(spelled("# TO", "DO: later"))


def test_no_file_is_large_and_none_is_a_model():
    heavy = [str(path.relative_to(ROOT)) for path in tracked() if path.stat().st_size > 1 << 20]
    models = [path.name for path in tracked() if path.suffix in {".bin", ".safetensors", ".pt", ".pth", ".ckpt"}]

    assert heavy == []
    assert models == []
