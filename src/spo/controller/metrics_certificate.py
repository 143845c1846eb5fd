"""The certificate of a metrics endpoint: files of a mounted Secret, in the live TLS context."""

import ssl
from pathlib import Path
from typing import Final

from spo import klog
from spo.errors import SpoError

log = klog.get("metrics")

_CERTIFICATE: Final = "tls.crt"
_KEY: Final = "tls.key"


class CertificateError(SpoError):
    """The files of the serving certificate cannot be used."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(directory, reason)
        self.directory = directory
        self.reason = reason

    def __str__(self) -> str:
        return f"serving certificate in {self.directory}: {self.reason}; Secret metrics-server-cert has it"


class ServingContext:
    """The TLS context, with the certificate of a mounted Secret; a new one is taken without a restart."""

    def __init__(self, directory: Path) -> None:
        """Load the certificate.

        Raises:
            CertificateError: there is none, or it does not fit its key.
        """
        self._directory = directory
        self._context: Final = _server_context()
        self._loaded = self._version()
        self._load()

    def current(self) -> ssl.SSLContext:
        """The context, with the certificate of now; with the old one if the new one is broken.

        For every connection before its handshake: whoever refuses an old certificate sends no request.
        """
        try:
            version = self._version()
            if version != self._loaded:
                self._load()
                self._loaded = version
                log.info("Took a new serving certificate")
        except CertificateError as error:
            log.warning("Kept the old serving certificate", problem=str(error))
        return self._context

    def _version(self) -> tuple[int, ...]:
        """Changes when a file does; the kubelet swaps the directory of a Secret as a whole."""
        try:
            stats = [(self._directory / name).stat() for name in (_CERTIFICATE, _KEY)]
        except OSError as error:
            raise CertificateError(self._directory, error.strerror or str(error)) from error
        return tuple(number for stat in stats for number in (stat.st_ino, stat.st_mtime_ns))

    def _load(self) -> None:
        files = (self._directory / _CERTIFICATE, self._directory / _KEY)
        try:
            # First on the side: a pair that does not match would leave the context without a key.
            _server_context().load_cert_chain(*files, password=_no_password)
            self._context.load_cert_chain(*files, password=_no_password)
        except (OSError, ssl.SSLError) as error:
            raise CertificateError(self._directory, str(error)) from error


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 0  # every scrape is a connection of its own
    return context


def _no_password() -> str:
    """Keys with a password: without this OpenSSL would ask on the terminal."""
    return ""
