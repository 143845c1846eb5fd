"""What the tests of bindings and of the webhooks share."""

import base64
import json
import threading
from typing import Any, Self

import pytest
import yaml

from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import BUSYBOX, DEADLINE_S, Namespace, pod, refusing, seccomp_profile

WEBHOOK = "deployment/security-profiles-operator-webhook"
MUTATING = "mutatingwebhookconfiguration/spo-mutating-webhook-configuration"
PAUSE_S = 0.05
"""Between two pods; the machine has other work."""


def binding(name: str, profile: str, image: str = BUSYBOX, **spec: Any) -> dict[str, Any]:
    reference = {"kind": "SeccompProfile", "name": profile}
    return {
        "apiVersion": "security-profiles-operator.x-k8s.io/v1alpha1",
        "kind": "ProfileBinding",
        "metadata": {"name": name},
        "spec": {"profileRef": reference, "image": image, **spec},
    }


def wait_active(namespace: Namespace, name: str, kind: str = "profilebinding") -> None:
    namespace.kubectl("wait", "--for=condition=ready", f"--timeout={DEADLINE_S:.0f}s", f"{kind}/{name}")


def bound_namespace(namespace: Namespace, **spec: Any) -> None:
    """A namespace in which busybox may not make directories."""
    namespace.apply(seccomp_profile("no-mkdir", syscalls=refusing("mkdir", "mkdirat")))
    namespace.wait_ready("no-mkdir")
    namespace.apply(binding("strict", "no-mkdir", **spec))
    wait_active(namespace, "strict")


def profiles_of(made: dict[str, Any], field: str = "containers") -> list[str | None]:
    contexts = [one.get("securityContext", {}) for one in made["spec"].get(field, [])]
    return [context.get("seccompProfile", {}).get("localhostProfile") for context in contexts]


def path(namespace: Namespace, profile: str = "no-mkdir") -> str:
    return f"operator/{namespace.name}/{profile}.json"


def only_own(namespace: Namespace) -> None:
    if not namespace.cluster.own:
        pytest.skip("takes the webhooks of the cluster down")


def secret(namespace: Namespace, name: str) -> dict[str, bytes]:
    data = Namespace(namespace.cluster, OPERATOR).get("secret", name)["data"]
    return {key: base64.b64decode(value) for key, value in data.items()}


def trusted(namespace: Namespace) -> bytes:
    shown = namespace.kubectl("get", MUTATING, "--output=json")
    found = {entry["clientConfig"]["caBundle"] for entry in json.loads(shown)["webhooks"]}
    assert len(found) == 1
    return base64.b64decode(found.pop())


class Creating:
    """Pods are created all the time, as a dry run, while the context lasts."""

    def __init__(self, namespace: Namespace) -> None:
        self.bound = 0
        """How many were admitted, all of them with the profile."""
        self.refused: list[str] = []
        self._namespace = namespace
        self._manifest = yaml.safe_dump(pod("user", "true"))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        command = ("create", "--dry-run=server", "--output=json", "-f", "-")
        while not self._over.wait(PAUSE_S):
            where = ("--namespace", self._namespace.name)
            done = self._namespace.cluster.run(*where, *command, stdin=self._manifest)
            if done.returncode:
                self.refused.append(done.stderr)
            elif profiles_of(json.loads(done.stdout)) == [path(self._namespace)]:
                self.bound += 1
            else:
                self.refused.append(f"past the binding: {done.stdout}")
