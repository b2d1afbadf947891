"""Rows of the feed as events of a stream: what a row only points at is fetched from where it is kept."""

from __future__ import annotations

from typing import Any

from stoker.api.answers import encode
from stoker.domain.events import FeedItem, FeedKind
from stoker.service.context import Context
from stoker.service.metrics import point
from stoker.service.view import iso

LONGEST_CHARACTER = 4
"""Bytes of the longest character in UTF-8."""


def event(kind: str, number: int, content: object) -> bytes:
    """Give one server-sent event (HTML standard, section 9.2.6). Its id is what a client resumes after."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, kind.encode(), encode(content))


def keep_alive(position: int) -> bytes:
    """Give a sign of life. It carries an id, so that one who follows quiet jobs does not fall behind the feed."""
    return b": keep-alive\nid: %d\n\n" % position


def render(context: Context, item: FeedItem) -> bytes:
    """Give a row as an event. Reads the store or a log for some kinds."""
    common = {"job_id": item.job_id, "at": iso(item.at)}
    return event(item.kind.value, item.id, common | _content(context, item))


def _content(context: Context, item: FeedItem) -> dict[str, Any]:
    data = item.data
    match item.kind:
        case FeedKind.STATE:
            return {"status": data.get("state"), **data}
        case FeedKind.PROGRESS:
            return {**_of_attempt(data), "progress": data.get("progress"), "live": data.get("live")}
        case FeedKind.METRICS:
            return _of_attempt(data) | _metrics(context, data)
        case FeedKind.LOG:
            return _of_attempt(data) | _log(context, data)
        case FeedKind.DELETED:
            return {}


def _of_attempt(data: dict[str, Any]) -> dict[str, Any]:
    return {"attempt": data.get("number")}


def _metrics(context: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Give the points of a range; `missing` counts those that were deleted since."""
    first, end = int(data["from"]), int(data["to"])
    rows = context.store.metrics(data["attempt"], first - 1, end - first)
    points = [point(data["number"], row) for row in rows if row.seq < end]
    return {"from": first, "to": end, "metrics": points, "missing": end - first - len(points)}


def _log(context: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Give the text of a range of bytes; `dropped` counts the bytes of it that are kept no more."""
    first, end = int(data["from"]), int(data["to"])
    begin, found = context.engine.channel(data["attempt"]).log_range(first, end + LONGEST_CHARACTER - 1)
    begin = min(max(begin, first), end)
    kept, after = found[: end - begin], found[end - begin :]
    text = whole_characters(kept, after, is_start=begin == 0)
    return {"from": first, "to": end, "text": text, "dropped": end - first - len(kept)}


def whole_characters(data: bytes, after: bytes, *, is_start: bool) -> str:
    """Give bytes from within a text in UTF-8, with each character in the range where it begins.

    So the texts of ranges that follow one another join to the whole text, wherever it was cut.
    """
    begin = 0
    while not is_start and begin < min(len(data), LONGEST_CHARACTER - 1) and _goes_on(data[begin]):
        begin += 1
    end = 0
    while end < len(after) and _goes_on(after[end]) and _is_cut(data):
        end += 1
    return (data[begin:] + after[:end]).decode("utf-8", "replace")


def _goes_on(byte: int) -> bool:
    return byte & 0xC0 == 0x80  # noqa: PLR2004 - a byte within a character


def _is_cut(data: bytes) -> bool:
    """Tell whether the last character of `data` is not complete."""
    for back in range(1, min(len(data), LONGEST_CHARACTER - 1) + 1):
        byte = data[-back]
        if not _goes_on(byte):
            return back < _length(byte)
    return False


def _length(lead: int) -> int:
    """Give how many bytes the character has that begins with this one."""
    return next((n for n, mark in ((4, 0xF0), (3, 0xE0), (2, 0xC0)) if lead >= mark), 1)
