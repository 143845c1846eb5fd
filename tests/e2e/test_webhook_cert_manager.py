"""Certificates of cert-manager in the place of our own: taken over, renewed, given back, no pod refused."""

import pytest

from tests.e2e.bound import Creating, bound_namespace, only_own, secret, trusted
from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import Namespace
from tests.fakes.cert_manager import CERTIFICATES, FakeCertManager

MANAGER = "deployment/security-profiles-operator"
LEASE = "security-profiles-operator-lock"
CERTIFICATE = {
    "apiVersion": "cert-manager.io/v1",
    "kind": "Certificate",
    "metadata": {"name": "webhook-cert"},
    "spec": {
        "secretName": "webhook-server-cert",
        "dnsNames": ["webhook-service.security-profiles-operator.svc"],
        "issuerRef": {"name": "selfsigned"},
    },
}


@pytest.fixture
def operator(namespace: Namespace) -> Namespace:
    only_own(namespace)
    return Namespace(namespace.cluster, OPERATOR)


def use(operator: Namespace, certificates: str) -> None:
    operator.kubectl("set", "env", MANAGER, f"SPO_CERTIFICATES={certificates}")
    operator.kubectl("rollout", "status", MANAGER, "--timeout=60s")
    newest = "--sort-by=metadata.creationTimestamp"
    names = operator.kubectl("get", "pods", f"--selector=name={OPERATOR}", newest, "--output=name").split()
    leader = "jsonpath={.spec.holderIdentity}"
    operator.eventually(
        "it leads",
        lambda: f"pod/{operator.kubectl('get', 'lease', LEASE, f'--output={leader}')}" == names[-1],
    )


def wait_trusted(namespace: Namespace, *authorities: bytes) -> None:
    namespace.eventually("the bundle", lambda: trusted(namespace) == b"".join(authorities))


def test_cert_manager_takes_over_renews_and_leaves(namespace: Namespace, operator: Namespace) -> None:
    bound_namespace(namespace)
    own = secret(namespace, "webhook-ca")["tls.crt"]
    operator.apply(CERTIFICATES)
    operator.kubectl("wait", "--for=condition=established", "crd/certificates.cert-manager.io")
    operator.apply(CERTIFICATE)
    issuer = FakeCertManager(operator.kubectl)
    with Creating(namespace) as made:
        use(operator, "cert-manager")
        issuer.issue()
        wait_trusted(namespace, issuer.ca, own)
        wait_trusted(namespace, issuer.ca)
        first = issuer.ca
        issuer.issue()  # a renewal by the same CA: nobody is to trust anything else
        issuer.new_ca()
        issuer.issue()
        wait_trusted(namespace, issuer.ca, first)
        wait_trusted(namespace, issuer.ca)
        operator.kubectl("delete", "certificate", "webhook-cert")
        use(operator, "own")
        wait_trusted(namespace, own)
    assert made.bound > 0
    assert made.refused == []
    assert secret(namespace, "webhook-server-cert")["ca.crt"] == own
    operator.kubectl("delete", "crd", "certificates.cert-manager.io")
