"""Rows to domain values and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import orjson

from stoker.domain.actor import Scope
from stoker.domain.events import Event, EventKind, FeedItem, FeedKind
from stoker.domain.failure import Reason
from stoker.domain.job import Attempt, Job
from stoker.domain.limits import Limits
from stoker.domain.spec import JobSpec
from stoker.domain.states import JobState
from stoker.domain.stop import StopKind, StopRequest
from stoker.store.port import ApiKey, MetricRow
from stoker.store.schema import api_keys, attempts, events, feed, jobs, metrics

_BIGGEST = 2**63 - 1
_DEEPEST = 200

_PLAIN_JOB = tuple(f.name for f in fields(Job) if f.name not in {"spec", "state", "reason", "stop"})
_PLAIN_ATTEMPT = tuple(
    f.name
    for f in fields(Attempt)
    if f.name not in {"handle", "gpus", "overrides", "progress", "live", "end", "receipt"}
)
_JSON_ATTEMPT = ("handle", "gpus", "overrides", "progress", "live", "ending", "receipt")
_STOP = ("stop_kind", "stop_who", "stop_why", "stop_at")

JOB_COLUMNS = tuple(jobs.c[name] for name in ("spec", "state", "reason", *_STOP, *_PLAIN_JOB))
"""The columns of a job in the order that `decode_job` reads."""

ATTEMPT_COLUMNS = tuple(attempts.c[name] for name in (*_JSON_ATTEMPT, *_PLAIN_ATTEMPT))
"""The columns of an attempt in the order that `decode_attempt` reads."""

EVENT_COLUMNS = tuple(
    events.c[name] for name in ("data", "kind", "source", "target", "job_id", "version", "at", "attempt")
)
FEED_COLUMNS = tuple(feed.c[name] for name in ("data", "kind", "id", "job_id", "owner", "at"))
METRIC_COLUMNS = tuple(metrics.c[name] for name in ("figures", "flags", "seq", "at", "step", "epoch", "kind"))
KEY_COLUMNS = (api_keys.c.scopes, *(column for column in api_keys.c if column.name != "scopes"))

_SPEC_NAMES = frozenset(f.name for f in fields(JobSpec))
_LIMIT_NAMES = frozenset(f.name for f in fields(Limits))
_TUPLES = ("command", "prefix", "secrets", "artifacts")


def encode_json(value: object) -> str:
    """Give a value as JSON text. What no database can hold (lone surrogates, huge integers) is replaced."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return orjson.dumps(_cleaned(value)).decode()


def decode_json(text: str) -> Any:
    """Read JSON text that `encode_json` made."""
    return orjson.loads(text)


def clean_text(value: str | None) -> str | None:
    """Replace what no database can hold in a text: lone surrogates and NUL."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _cleaned(value: object, depth: int = 0) -> object:
    if depth > _DEEPEST:
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and abs(value) > _BIGGEST:
        return float(value) if abs(value) < 1 << 1000 else None
    if isinstance(value, Mapping):
        return {str(_cleaned(str(key))): _cleaned(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item, depth + 1) for item in value]
    return value


def encode_spec(spec: JobSpec) -> str:
    """Give a spec as JSON text."""
    values = {f.name: getattr(spec, f.name) for f in fields(spec)}
    limits = {f.name: getattr(spec.limits, f.name) for f in fields(spec.limits)}
    return encode_json(values | {"limits": limits})


def decode_spec(text: str) -> JobSpec:
    """Read a spec back."""
    values = {name: value for name, value in orjson.loads(text).items() if name in _SPEC_NAMES}
    for name in _TUPLES:
        values[name] = tuple(values.get(name, ()))
    limits = {name: value for name, value in values.get("limits", {}).items() if name in _LIMIT_NAMES}
    values["limits"] = Limits(**limits)
    return JobSpec(**values)


def encode_job(job: Job) -> dict[str, Any]:
    """Give the columns of a job, the spec excepted, which never changes."""
    stop = job.stop
    return {name: getattr(job, name) for name in _PLAIN_JOB} | {
        "user_id": clean_text(job.user_id),
        "name": clean_text(job.name),
        "error": clean_text(job.error),
        "state": job.state.value,
        "reason": None if job.reason is None else job.reason.value,
        "stop_kind": None if stop is None else stop.kind.value,
        "stop_who": None if stop is None else clean_text(stop.who),
        "stop_why": None if stop is None else clean_text(stop.why),
        "stop_at": None if stop is None else stop.at,
    }


def decode_job(row: Sequence[Any]) -> Job:
    """Read a job from the columns `JOB_COLUMNS`."""
    spec, state, reason, kind, who, why, at, *plain = row
    return Job(
        spec=decode_spec(spec),
        state=JobState(state),
        reason=None if reason is None else Reason(reason),
        stop=None if kind is None else StopRequest(kind=StopKind(kind), who=who, why=why, at=at),
        **dict(zip(_PLAIN_JOB, plain, strict=True)),
    )


def encode_attempt(attempt: Attempt) -> dict[str, Any]:
    """Give the columns of an attempt."""
    return {name: getattr(attempt, name) for name in _PLAIN_ATTEMPT} | {
        "handle": encode_json(attempt.handle),
        "gpus": encode_json(attempt.gpus),
        "overrides": encode_json(attempt.overrides),
        "progress": encode_json(attempt.progress),
        "live": encode_json(attempt.live),
        "ending": None if attempt.end is None else encode_json(attempt.end),
        "receipt": None if attempt.receipt is None else encode_json(attempt.receipt),
    }


def decode_attempt(row: Sequence[Any]) -> Attempt:
    """Read an attempt from the columns `ATTEMPT_COLUMNS`."""
    handle, gpus, overrides, progress, live, ending, receipt, *plain = row
    return Attempt(
        handle=_object(handle),
        gpus=tuple(orjson.loads(gpus)),
        overrides=_object(overrides),
        progress=_object(progress),
        live=_object(live),
        end=None if ending is None else orjson.loads(ending),
        receipt=None if receipt is None else orjson.loads(receipt),
        **dict(zip(_PLAIN_ATTEMPT, plain, strict=True)),
    )


def encode_event(event: Event) -> dict[str, Any]:
    """Give the columns of an event."""
    return {
        "job_id": event.job_id,
        "version": event.version,
        "kind": event.kind.value,
        "at": event.at,
        "attempt": event.attempt,
        "source": None if event.source is None else event.source.value,
        "target": None if event.target is None else event.target.value,
        "data": encode_json(event.data),
    }


def decode_event(row: Sequence[Any]) -> Event:
    """Read an event from the columns `EVENT_COLUMNS`."""
    data, kind, source, target, job_id, version, at, attempt = row
    return Event(
        job_id=job_id,
        version=version,
        kind=EventKind(kind),
        at=at,
        attempt=attempt,
        source=None if source is None else JobState(source),
        target=None if target is None else JobState(target),
        data=_object(data),
    )


def decode_feed(row: Sequence[Any]) -> FeedItem:
    """Read a row of the feed from the columns `FEED_COLUMNS`."""
    data, kind, number, job_id, owner, at = row
    return FeedItem(id=number, job_id=job_id, owner=owner, kind=FeedKind(kind), at=at, data=_object(data))


def encode_metric(attempt_id: str, row: MetricRow) -> dict[str, Any]:
    """Give the columns of a metric row. Numbers come from a trainer: what a column can't hold is dropped."""
    return {
        "attempt_id": attempt_id,
        "seq": row.seq,
        "at": row.at if math.isfinite(row.at) else 0.0,
        "step": row.step if row.step is None or abs(row.step) <= _BIGGEST else None,
        "epoch": row.epoch if row.epoch is None or math.isfinite(row.epoch) else None,
        "kind": clean_text(row.kind),
        "figures": encode_json(row.values),
        "flags": encode_json(row.flags),
    }


def decode_metric(row: Sequence[Any]) -> MetricRow:
    """Read a metric row from the columns `METRIC_COLUMNS`."""
    figures, flags, seq, at, step, epoch, kind = row
    return MetricRow(
        seq=seq, at=at, step=step, epoch=epoch, kind=kind, values=orjson.loads(figures), flags=_object(flags)
    )


def encode_key(key: ApiKey) -> dict[str, Any]:
    """Give the columns of a key."""
    values = {f.name: getattr(key, f.name) for f in fields(key)}
    return values | {"scopes": " ".join(sorted(scope.value for scope in key.scopes)), "name": clean_text(key.name)}


def decode_key(row: Sequence[Any]) -> ApiKey:
    """Read a key from the columns `KEY_COLUMNS`."""
    scopes, *plain = row
    names = (column.name for column in KEY_COLUMNS[1:])
    return ApiKey(scopes=frozenset(map(Scope, scopes.split())), **dict(zip(names, plain, strict=True)))


def _object(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {} if text == "{}" else orjson.loads(text)
    return found
