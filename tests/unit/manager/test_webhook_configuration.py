"""The configuration touches the namespaces that asked for it, and no other."""

import base64
import copy
from typing import Any

import pytest

from spo.api.meta import LabelSelector
from spo.api.spod import WebhookOptions
from spo.manager.webhook_configuration import (
    Admission,
    Json,
    configuration_name,
    is_held,
    wanted_webhooks,
)
from spo.names import BINDING_WEBHOOK, RECORDING_WEBHOOK

OWN = "security-profiles-operator"


def admission(
    binding: tuple[str, ...] = (), recording: tuple[str, ...] = (), *options: WebhookOptions, **more: Any
) -> Admission:
    return Admission(
        operator_namespace=OWN,
        namespaces={BINDING_WEBHOOK: frozenset(binding), RECORDING_WEBHOOK: frozenset(recording)},
        options={one.name: one for one in options},
        bundle=more.get("bundle", b"PEM"),
    )


def wanted(*args: Any, **more: Any) -> dict[str, Json]:
    return {entry["name"]: entry for entry in wanted_webhooks(admission(*args, **more))}


def namespaces(entry: Json) -> tuple[str, list[str]]:
    (one,) = entry["namespaceSelector"]["matchExpressions"]
    assert one["key"] == "kubernetes.io/metadata.name"
    return one["operator"], one["values"]


def test_nothing_to_do_means_no_entry() -> None:
    assert wanted() == {}
    assert list(wanted(("a",))) == [BINDING_WEBHOOK]
    assert list(wanted((), ("a",))) == [RECORDING_WEBHOOK]


def test_binding_is_called_before_recording() -> None:
    assert list(wanted(("a",), ("a",))) == [BINDING_WEBHOOK, RECORDING_WEBHOOK]


def test_each_entry_lists_its_namespaces_sorted() -> None:
    entries = wanted(("b", "a"), ("c",))
    assert namespaces(entries[BINDING_WEBHOOK]) == ("In", ["a", "b"])
    assert namespaces(entries[RECORDING_WEBHOOK]) == ("In", ["c"])


def test_over_a_thousand_namespaces_are_turned_round() -> None:
    many = tuple(f"n{number}" for number in range(1000))
    assert namespaces(wanted(many)[BINDING_WEBHOOK])[0] == "In"
    assert namespaces(wanted((*many, "one-more"))[BINDING_WEBHOOK]) == ("NotIn", ["kube-system", OWN])


def test_own_namespace_has_an_entry_that_leaves_out_the_own_pods() -> None:
    entries = wanted(("a", OWN))
    assert namespaces(entries[BINDING_WEBHOOK]) == ("In", ["a"])
    assert entries[BINDING_WEBHOOK]["objectSelector"] == {}
    own = entries[f"operator-namespace.{BINDING_WEBHOOK}"]
    assert namespaces(own) == ("In", [OWN])
    assert own["objectSelector"]["matchExpressions"] == [
        {"key": "name", "operator": "NotIn", "values": [OWN, f"{OWN}-webhook", "spod"]}
    ]
    assert own["clientConfig"] == entries[BINDING_WEBHOOK]["clientConfig"]
    assert list(wanted((OWN,))) == [f"operator-namespace.{BINDING_WEBHOOK}"]


def test_entry_asks_for_new_pods_and_new_ephemeral_containers_only() -> None:
    entries = wanted(("a",), ("a",))
    rules = {
        name: [(one["operations"], one["resources"]) for one in entry["rules"]]
        for name, entry in entries.items()
    }
    assert rules == {
        BINDING_WEBHOOK: [(["CREATE"], ["pods"]), (["UPDATE"], ["pods/ephemeralcontainers"])],
        RECORDING_WEBHOOK: [(["CREATE"], ["pods"])],
    }


def test_entry_leads_to_the_service_and_trusts_the_bundle() -> None:
    entry = wanted(("a",))[BINDING_WEBHOOK]
    assert entry["clientConfig"] == {
        "service": {
            "namespace": OWN,
            "name": "webhook-service",
            "path": "/mutate-v1-pod-binding",
            "port": 443,
        },
        "caBundle": base64.b64encode(b"PEM").decode(),
    }
    assert entry["sideEffects"] == "None"
    assert entry["failurePolicy"] == "Fail"
    assert "caBundle" not in wanted(("a",), bundle=None)[BINDING_WEBHOOK]["clientConfig"]


def test_settings_change_one_webhook() -> None:
    ignore = WebhookOptions(name=RECORDING_WEBHOOK, failure_policy="Ignore")
    entries = wanted(("a", OWN), ("a", OWN), ignore)
    assert entries[BINDING_WEBHOOK]["failurePolicy"] == "Fail"
    assert entries[RECORDING_WEBHOOK]["failurePolicy"] == "Ignore"
    assert entries[f"operator-namespace.{RECORDING_WEBHOOK}"]["failurePolicy"] == "Ignore"


def test_own_selectors_of_the_user_replace_the_lists() -> None:
    chosen = WebhookOptions(
        name=BINDING_WEBHOOK,
        namespace_selector=LabelSelector(match_labels={"bind": "yes"}),
        object_selector=LabelSelector(match_labels={"app": "web"}),
    )
    entries = wanted((), (), chosen)
    assert entries[BINDING_WEBHOOK]["namespaceSelector"] == {"matchLabels": {"bind": "yes"}}
    assert entries[BINDING_WEBHOOK]["objectSelector"] == {"matchLabels": {"app": "web"}}
    chosen.object_selector = None
    exempt = wanted((), (), chosen)[BINDING_WEBHOOK]["objectSelector"]
    assert exempt["matchExpressions"][0]["operator"] == "NotIn"


@pytest.fixture
def entries() -> list[Json]:
    return wanted_webhooks(admission(("a", "b"), ("c", OWN)))


def test_what_was_stored_is_held_also_with_what_clusters_add(entries: list[Json]) -> None:
    stored = copy.deepcopy(entries)
    assert is_held(stored, entries)
    for entry in stored:
        entry["added"] = True
        entry["namespaceSelector"]["matchExpressions"].append({"key": "control-plane", "operator": "NotIn"})
        entry["clientConfig"]["service"]["x"] = 1
        if not entry["objectSelector"]:
            del entry["objectSelector"]
    stored.append({"name": "somebody.else.io"})
    assert is_held(stored, entries)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda e: e.clear(), id="removed"),
        pytest.param(lambda e: e.pop(), id="one-removed"),
        pytest.param(lambda e: e[0].update(failurePolicy="Ignore"), id="policy"),
        pytest.param(lambda e: e[0]["clientConfig"].update(caBundle="eA=="), id="bundle"),
        pytest.param(lambda e: e[0]["clientConfig"]["service"].update(name="evil"), id="service"),
        pytest.param(lambda e: e[0].update(namespaceSelector={}), id="selector"),
        pytest.param(
            lambda e: e[0]["namespaceSelector"]["matchExpressions"][0]["values"].append("z"), id="namespace"
        ),
        pytest.param(
            lambda e: e[0]["namespaceSelector"]["matchExpressions"][0]["values"].remove("a"), id="fewer"
        ),
        pytest.param(lambda e: e[0]["rules"].pop(), id="rules"),
        pytest.param(lambda e: e[0].update(rules=None), id="null"),
        pytest.param(
            lambda e: e.append({"name": f"operator-namespace.{BINDING_WEBHOOK}"}), id="entry-too-many"
        ),
    ],
)
def test_what_differs_is_not_held(entries: list[Json], change: Any) -> None:
    stored = copy.deepcopy(entries)
    change(stored)
    assert not is_held(stored, entries)


def test_entry_that_is_no_longer_wanted_is_not_held(entries: list[Json]) -> None:
    assert not is_held(entries, [])
    assert is_held([], [])


def test_operators_of_several_namespaces_have_configurations_of_their_own() -> None:
    assert configuration_name(OWN) == "spo-mutating-webhook-configuration"
    assert configuration_name("team-a") == "spo-mutating-webhook-configuration-team-a"
