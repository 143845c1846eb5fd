"""Since when which namespaces pass which webhook: written with the configuration, read by others."""

from collections.abc import Callable, Mapping
from typing import Final

from spo.api.meta import LabelSelector
from spo.kube.clock import Clock

SETTLE_S: Final = 2.0
"""After this long every API server uses a stored configuration, and every replica knows its rules."""


class AdmissionScope:
    """What the stored configuration covers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[tuple[str, str], float] = {}
        self.known = False
        """Whether the configuration was looked at since this manager leads."""
        self._bundle: tuple[bytes, float] | None = None
        self._selectors: Mapping[str, LabelSelector] = {}
        self._listeners: list[Callable[[str, str], None]] = []

    def add_listener(self, listener: Callable[[str, str], None]) -> None:
        """Call ``listener`` with webhook and namespace when one becomes covered or no longer is."""
        self._listeners.append(listener)

    def stored(
        self,
        namespaces: Mapping[str, frozenset[str]],
        selectors: Mapping[str, LabelSelector],
        bundle: bytes,
    ) -> None:
        """The configuration is at the API server.

        Args:
            namespaces: name of a webhook -> namespaces that hold something for it.
            selectors: name of a webhook -> namespaces that the user wants it to see instead.
            bundle: the CAs in it.
        """
        self.known = True
        now = self._clock.monotonic()
        covered = {(webhook, one) for webhook, names in namespaces.items() for one in names}
        changed = covered ^ self._since.keys()
        if selectors != self._selectors:
            changed = covered | self._since.keys()
        self._since = {key: self._since.get(key, now) for key in covered}
        self._selectors = selectors
        if self._bundle is None or self._bundle[0] != bundle:
            self._bundle = bundle, now
        for webhook, namespace in changed:
            for listener in self._listeners:
                listener(webhook, namespace)

    def settles_in_s(self, webhook: str, namespace: str) -> float | None:
        """Seconds until the webhook sees every new pod of the namespace; ``None``: not even configured."""
        since = self._since.get((webhook, namespace))
        return None if since is None else max(0.0, since + SETTLE_S - self._clock.monotonic())

    def selector(self, webhook: str) -> LabelSelector | None:
        """The user's own selector of namespaces, if there is one."""
        return self._selectors.get(webhook)

    def trusts(self, bundle: bytes) -> bool:
        """Whether every API server trusts what these CAs have issued."""
        if self._bundle is None or self._bundle[0] != bundle:
            return False
        return self._bundle[1] + SETTLE_S <= self._clock.monotonic()
