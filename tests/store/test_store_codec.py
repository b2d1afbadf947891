"""Rows and domain values are two forms of one thing."""

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from stoker.domain.job import Attempt, Job
from stoker.domain.limits import Limits
from stoker.domain.spec import JobSpec
from stoker.store import codec

TEXTS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ANYTHING = st.recursive(
    st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SPECS = st.builds(
    JobSpec,
    config=st.dictionaries(TEXTS, JSON, max_size=4),
    command=st.lists(TEXTS, max_size=3).map(tuple),
    prefix=st.lists(TEXTS, max_size=2).map(tuple),
    secrets=st.lists(TEXTS, max_size=2).map(tuple),
    artifacts=st.lists(TEXTS, max_size=2).map(tuple),
    env=st.dictionaries(TEXTS, TEXTS, max_size=2),
    limits=st.builds(Limits, stall_seconds=st.none() | st.floats(0, 1e6), grace_seconds=st.floats(0, 1e6)),
)


@given(SPECS)
def test_a_spec_survives_the_way_to_the_database_and_back(spec):
    assert codec.decode_spec(codec.encode_spec(spec)) == spec


def test_a_spec_with_fields_unknown_to_this_version_is_read_without_them():
    assert codec.decode_spec('{"recipe":"x","later":1,"limits":{"grace_seconds":1.0,"later":2}}') == JobSpec(
        recipe="x", limits=Limits(grace_seconds=1.0)
    )


@given(ANYTHING)
def test_anything_that_python_reads_from_json_can_be_kept(value):
    codec.decode_json(codec.encode_json(value))


@given(st.text(st.characters(codec=None), max_size=10))
def test_a_clean_text_is_one_that_every_database_takes(text):
    clean = codec.clean_text(text)

    assert "\0" not in clean
    clean.encode()


def test_no_text_stays_none():
    assert codec.clean_text(None) is None


def test_every_field_of_a_job_and_an_attempt_has_its_column():
    special = {"stop": {"stop_kind", "stop_who", "stop_why", "stop_at"}, "end": {"ending"}}
    for kind, columns in ((Job, codec.JOB_COLUMNS), (Attempt, codec.ATTEMPT_COLUMNS)):
        expected = set().union(*(special.get(f.name, {f.name}) for f in fields(kind)))
        assert {column.name for column in columns} == expected
