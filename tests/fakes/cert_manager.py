"""A stand-in for cert-manager: fills the Secrets that Certificates name, as its issuers do."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from spo.manager.certificates import Issued, new_authority, new_server_certificate

Kubectl = Callable[..., str]
"""kubectl in the namespace of the Certificates: arguments, ``stdin`` -> output."""

CERTIFICATES = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "certificates.cert-manager.io"},
    "spec": {
        "group": "cert-manager.io",
        "names": {"kind": "Certificate", "plural": "certificates", "singular": "certificate"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}


class FakeCertManager:
    """One CA issuer; :meth:`new_ca` makes it another, as a self-signed one is with each renewal."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._authority = new_authority(datetime.now(UTC))

    @property
    def ca(self) -> bytes:
        """PEM of the CA that issues."""
        return self._authority.certificate

    def new_ca(self) -> None:
        """From now on another CA issues."""
        self._authority = new_authority(datetime.now(UTC))

    def issue(self) -> None:
        """Issue all Certificates, also those that would be valid for long."""
        for one in json.loads(self._kubectl("get", "certificates", "--output=json"))["items"]:
            spec = one["spec"]
            issued = new_server_certificate(
                self._authority.certificate, self._authority.key, tuple(spec["dnsNames"]), datetime.now(UTC)
            )
            self._write(one["metadata"]["name"], spec, issued)

    def _write(self, name: str, spec: dict[str, Any], issued: Issued) -> None:
        data = {"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": self.ca}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {
                "name": spec["secretName"],
                "annotations": {
                    "cert-manager.io/certificate-name": name,
                    "cert-manager.io/issuer-name": spec["issuerRef"]["name"],
                    "cert-manager.io/alt-names": ",".join(spec["dnsNames"]),
                },
            },
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        server_side = ("--server-side", "--force-conflicts", "--field-manager=cert-manager-certificates")
        self._kubectl("apply", *server_side, "-f", "-", stdin=json.dumps(secret))
