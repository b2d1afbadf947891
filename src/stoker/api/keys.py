"""The routes of keys."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from stoker.api import bodies
from stoker.api.answers import answer
from stoker.api.routes import Body, Route, actor, house
from stoker.domain.actor import Scope
from stoker.service.context import require
from stoker.service.keys import KeyRequest, create_key, list_keys, revoke_key, shown

router = APIRouter(prefix="/api/training/keys", route_class=Route, tags=["keys"])


@router.get("")
def get_keys(request: Request) -> Response:
    """The caller's keys without their secrets; all keys for an admin."""
    return answer(list_keys(house(request), actor(request)))


@router.post("", openapi_extra=bodies.schema(KeyRequest))
def post_keys(request: Request, body: Body) -> Response:
    """Make a key; its text is in this answer and never again. Needs the scope admin."""
    require(actor(request), Scope.ADMIN)
    context = house(request)
    text, key = create_key(context.store, bodies.read(body, KeyRequest), context.now())
    return answer({"success": True, "key": text, **shown(key), "message": "Keep the key; it is shown only this once"})


@router.delete("/{prefix}")
def delete_key(request: Request, prefix: str) -> Response:
    """Revoke a key for ever."""
    return answer(revoke_key(house(request), actor(request), prefix))
