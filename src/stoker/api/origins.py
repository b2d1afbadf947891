"""Where a request comes from: under which name the server was addressed, and by the page of which site. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from stoker.api.errors import Refused
from stoker.settings import LOOPBACK_HOSTS, Settings

ASKED_BY_OWN_PAGE = frozenset({b"same-origin", b"none"})
"""What a browser says of a request by a page of this server, or by its user's own hand."""

EVERY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - to be left out: it binds, and names nothing

Headers = dict[bytes, bytes]


def names_of(settings: Settings) -> frozenset[str]:
    """Give the names under which the server may be addressed."""
    names = {name.lower().strip("[]") for name in (*LOOPBACK_HOSTS, settings.host, *settings.allowed_hosts)}
    return frozenset(names - EVERY_ADDRESS)


def check_host(headers: Headers, names: frozenset[str], own_ip: str | None) -> None:
    """Refuse a request to a name that is not this server's: a foreign name that was made to point here (rebinding).

    The address at which the connection came in is always right, since a name is needed for that trick.
    """
    host = host_name(headers.get(b"host", b""))
    if host is None:
        raise Refused(HTTPStatus.BAD_REQUEST, "no-host", "The request names no host, or no valid one. Send one Host")
    if host not in names and host != own_ip:
        detail = (
            f"This server is not called '{host}'. Use a name that it knows, "
            "or start it with this one among its allowed hosts (STOKER_ALLOWED_HOSTS)"
        )
        raise Refused(HTTPStatus.FORBIDDEN, "foreign-host", detail)


def check_origin(headers: Headers) -> None:
    """Refuse a request made by a page of another site, whatever its method. What is no browser sends no origin."""
    origin = headers.get(b"origin")
    if origin is not None and origin.lower() not in _own_origins(headers[b"host"]):
        detail = "Pages of other sites may not use this server. Open the server's own pages, or use a client"
        raise Refused(HTTPStatus.FORBIDDEN, "foreign-origin", detail)
    site = headers.get(b"sec-fetch-site")
    if site is not None and site.lower() not in ASKED_BY_OWN_PAGE:
        detail = "The browser says that another site makes this request. Open the server's own pages, or use a client"
        raise Refused(HTTPStatus.FORBIDDEN, "foreign-origin", detail)


def host_name(value: bytes) -> str | None:
    """Give the name or address of a Host header without its port; None if it is not a valid one."""
    try:
        text = value.decode("ascii").lower()
    except UnicodeDecodeError:
        return None
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        port = port.removeprefix(":") if bracket and (not port or port.startswith(":")) else "-"
    else:
        name, _, port = text.partition(":")
    if not name or (port and not port.isdigit()) or not _is_plain(name):
        return None
    return name


def _is_plain(name: str) -> bool:
    return all(letter.isalnum() or letter in ".-_:" for letter in name)


def _own_origins(host: bytes) -> Iterable[bytes]:
    """Give the origins of pages that come from the host that was addressed."""
    host = host.lower()
    bare = host.removesuffix(b":80").removesuffix(b":443")
    return {b"http://" + host, b"https://" + host, b"http://" + bare, b"https://" + bare}
