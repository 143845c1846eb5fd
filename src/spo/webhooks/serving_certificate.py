"""The certificate of the webhook server: from its Secret into the live TLS context, never onto a disk."""

import asyncio
import os
import ssl
from typing import Final

from spo import klog
from spo.api.secret import AUTHORITY, CERTIFICATE, KEY, Secret
from spo.kube.clock import SYSTEM_CLOCK, Clock, Timer

log = klog.get("webhook-certificate")


TRUST_S: Final = 4.0
"""How long a certificate of another CA waits: API servers must trust it before they see it."""


class ServingCertificate:
    """A TLS context that follows a Secret.

    New connections use what was loaded last; those that are open go on with what they began with. A Secret
    that holds no usable pair changes nothing.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._waiting: Timer | None = None
        self._authority: bytes | None = None
        self.context: Final = _server_context()
        self.loaded: Final = asyncio.Event()
        """Set once there is a certificate to serve."""
        self.problem = "no certificate yet: waiting for its Secret"
        """Why the last Secret could not be used; empty if it is in use."""

    def secret_changed(self, _: Secret | None, new: Secret | None) -> None:
        """Listener of the Secret."""
        if new is None:
            log.warning("The Secret of the certificate is gone; serving goes on with the last one")
            return
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        authority = new.data.get(AUTHORITY)
        if self._authority is None or authority is None or authority == self._authority:
            self._take(new)
            return
        log.info("Another CA has issued the certificate: it is served in a moment", secret=new.metadata.name)
        self._waiting = self._clock.call_later(TRUST_S, lambda: self._take(new))

    def _take(self, new: Secret) -> None:
        try:
            self._load(new.data.get(CERTIFICATE, b""), new.data.get(KEY, b""))
        except (ssl.SSLError, OSError) as error:
            self.problem = f"Secret {new.metadata.name}: no usable pair of {CERTIFICATE} and {KEY}: {error}"
            log.error("Cannot use the certificate", error=error, secret=new.metadata.name)
            return
        self.problem = ""
        self._authority = new.data.get(AUTHORITY)
        self.loaded.set()
        log.info("Certificate loaded", secret=new.metadata.name, version=new.metadata.resource_version)

    def _load(self, certificate: bytes, key: bytes) -> None:
        # In memory: the root file system is read-only, and keys do not belong on disks.
        file = os.memfd_create("webhook-certificate", os.MFD_CLOEXEC)
        try:
            os.write(file, certificate + b"\n" + key)
            path = f"/proc/self/fd/{file}"
            # First on the side: a pair that does not match leaves a context without a key.
            _server_context().load_cert_chain(path, password=_no_password)
            self.context.load_cert_chain(path, password=_no_password)
        finally:
            os.close(file)


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _no_password() -> str:
    """Keys with a password: without this OpenSSL would ask on the terminal."""
    return ""
