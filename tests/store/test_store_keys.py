"""Keys: kept by digest, found by prefix, revoked once."""

import pytest

from stoker.domain.actor import Scope
from stoker.domain.errors import Conflict
from stoker.store.port import ApiKey


def key(prefix="sk-1", **given):
    values = {"digest": "d" * 64, "owner": "ada", "scopes": frozenset({Scope.READ, Scope.SUBMIT}), "name": "laptop"}
    return ApiKey(prefix=prefix, **(values | {"created_at": 1.0} | given))


def test_a_key_reads_back_as_it_was_made(store):
    given = key(expires_at=50.0)
    store.add_key(given)

    assert store.find_key("sk-1") == given
    assert store.find_key("sk-2") is None


def test_keys_are_listed_for_one_owner_or_all(store):
    store.add_key(key("sk-1", created_at=2.0))
    store.add_key(key("sk-2", owner="bob", scopes=frozenset()))

    assert [one.prefix for one in store.keys(None)] == ["sk-2", "sk-1"]
    assert [one.prefix for one in store.keys("bob")] == ["sk-2"]
    assert store.keys("bob")[0].scopes == frozenset()


def test_a_prefix_is_given_out_once(store):
    store.add_key(key())

    with pytest.raises(Conflict):
        store.add_key(key(owner="bob"))


def test_a_key_is_revoked_once(store):
    store.add_key(key())

    assert store.revoke_key("sk-1", 9.0)
    assert store.find_key("sk-1").revoked_at == 9.0
    assert not store.revoke_key("sk-1", 10.0)
    assert not store.revoke_key("sk-2", 10.0)
    assert store.find_key("sk-1").revoked_at == 9.0


def test_an_expired_key_is_not_revoked_any_more(store):
    store.add_key(key(expires_at=5.0))

    assert not store.revoke_key("sk-1", 9.0)


def test_the_last_use_is_known_to_the_minute(store):
    store.add_key(key())
    store.touch_key("sk-1", 100.0)
    store.touch_key("sk-1", 130.0)
    first = store.find_key("sk-1").last_used_at
    store.touch_key("sk-1", 160.0)
    store.touch_key("sk-2", 160.0)

    assert first == 100.0
    assert store.find_key("sk-1").last_used_at == 160.0
