"""The least that a server on this web stack can do: an answer whose bytes are ready."""

BODY = b'{"status":"running","job_id":"' + b"x" * 1400 + b'"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(scope, receive, send) -> None:
    """Answer everything alike."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": BODY})
