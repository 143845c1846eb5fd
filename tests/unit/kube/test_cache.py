from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.resource import Resource
from spo.kube.cache import Cache, Key
from spo.kube.informer import Informer
from spo.kube.wire import KeyMeta, Page, Unreadable


@dataclass(frozen=True)
class Thing:
    metadata: KeyMeta
    colour: str = ""


THINGS = Resource("example.com", "v1", "Thing", "things", True, Thing)
KEYS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y", "z"]))
CONTENTS = st.dictionaries(KEYS, st.tuples(st.integers(1, 3), st.sampled_from(["red", "blue", "UNREADABLE"])))
Contents = dict[tuple[str, str], tuple[int, str]]


def _key(thing: Thing) -> Key:
    return Key(thing.metadata.namespace, thing.metadata.name)


def _page(contents: Contents) -> Page[Thing]:
    metas = {
        (namespace, name): KeyMeta(name, namespace, "uid", str(version))
        for (namespace, name), (version, _) in contents.items()
    }
    return Page(
        [Thing(metas[key], colour) for key, (_, colour) in contents.items() if colour != "UNREADABLE"],
        "1",
        unreadable=tuple(
            Unreadable(metas[key], "bad") for key, (_, colour) in contents.items() if colour == "UNREADABLE"
        ),
    )


def _list(informer: Informer[Thing], contents: Contents, namespace: str | None, pages: int) -> None:
    snapshot = informer.begin(namespace)
    items = list(contents.items())
    for number in range(pages):
        snapshot.add(_page(dict(items[number::pages])))
    snapshot.commit()


@given(st.lists(st.tuples(CONTENTS, st.sampled_from([None, "a", "b"]), st.integers(1, 3)), max_size=5))
def test_after_any_lists_the_cache_holds_the_truth_and_listeners_can_follow(
    lists: list[tuple[Contents, str | None, int]],
) -> None:
    informer: Informer[Thing] = Informer(None, THINGS)  # type: ignore[arg-type] # no request is made
    informer.add_index("colour", lambda thing: [thing.colour])
    followed: dict[Key, Thing] = {}

    def follow(old: Thing | None, new: Thing | None) -> None:
        some = new or old
        assert some is not None
        key = _key(some)
        assert followed.get(key) == old
        assert old != new
        # The cache is already as it will be when the list is done.
        assert informer.cache.get(*key) == new
        assert set(informer.cache.unreadable) == unreadable
        if new is None:
            del followed[key]
        else:
            followed[key] = new

    readable: Contents = {}
    unreadable: set[tuple[str, str]] = set()
    told: set[Key] = set()
    """Of these the listener for unreadable objects knows that they are."""
    informer.add_listener(follow)
    informer.add_unreadable_listener(lambda key: told.symmetric_difference_update({key}))
    for contents, namespace, pages in lists:
        listed = {key: value for key, value in contents.items() if namespace in {None, key[0]}}
        for key in [key for key in {*readable, *unreadable} if namespace in {None, key[0]}]:
            if key not in listed:
                readable.pop(key, None)
            unreadable.discard(key)
        unreadable |= {key for key, (_, colour) in listed.items() if colour == "UNREADABLE"}
        readable |= {key: value for key, value in listed.items() if value[1] != "UNREADABLE"}

        _list(informer, listed, namespace, pages)

        cached = {_key(thing): thing for thing in informer.cache.list()}
        assert set(cached) == set(informer.cache.keys())
        assert cached == {
            Key(*key): Thing(KeyMeta(key[1], key[0], "uid", str(version)), colour)
            for key, (version, colour) in readable.items()
        }
        assert followed == cached
        assert set(informer.cache.unreadable) == unreadable == told
        for colour in ("red", "blue"):
            found = {
                Key(t.metadata.namespace, t.metadata.name) for t in informer.cache.by_index("colour", colour)
            }
            assert found == {key for key, thing in cached.items() if thing and thing.colour == colour}


def _thing(name: str, colour: str) -> tuple[Key, Thing]:
    return Key("ns", name), Thing(KeyMeta(name, "ns"), colour)


def test_index_added_late_covers_what_is_there() -> None:
    cache: Cache[Thing] = Cache("Thing")
    cache.update([_thing("x", "red"), _thing("y", "blue")])
    cache.add_index("colour", lambda thing: [thing.colour])
    assert [thing.metadata.name for thing in cache.by_index("colour", "red")] == ["x"]
    assert sorted(map(str, cache.index_values("colour"))) == ["blue", "red"]


def test_nothing_is_left_of_what_is_gone() -> None:
    cache: Cache[Thing] = Cache("Thing")
    cache.add_index("colour", lambda thing: [thing.colour])
    cache.update([_thing("x", "red")])
    cache.update([(Key("ns", "x"), None)])
    assert cache.index_values("colour") == []
    assert cache.keys() == []
    assert len(cache) == 0


def test_lists_can_be_limited_to_a_namespace() -> None:
    cache: Cache[Thing] = Cache("Thing")
    cache.update([_thing("x", "red"), (Key("", "node"), Thing(KeyMeta("node")))])
    assert [thing.metadata.name for thing in cache.list("ns")] == ["x"]
    assert cache.list("other") == []
    found = cache.get(None, "node")
    assert found is not None
    assert cache.get("", "node") is found


def test_two_indexes_cannot_share_a_name() -> None:
    cache: Cache[Thing] = Cache("Thing")
    cache.add_index("colour", lambda thing: [thing.colour])
    with pytest.raises(ValueError, match="colour"):
        cache.add_index("colour", lambda thing: [thing.colour])
