"""Which nodes count as gone, so that deletion does not wait for them."""

from collections.abc import Iterable


class NodeLiveness:
    """Remembers since when a node has no spod pod or is not ready.

    Times are of this process (a monotonic clock): clocks of nodes do not matter, and a new leader
    gives every node the full time again.
    """

    def __init__(self, gone_after_s: float) -> None:
        self._gone_after_s = gone_after_s
        self._present: set[str] = set()
        self._troubled: dict[str, dict[str, float]] = {}

    def set_node(self, name: str, *, ready: bool, now: float) -> None:
        """A Node object exists."""
        self._present.add(name)
        self._note(name, "not-ready", troubled=not ready, now=now)

    def remove_node(self, name: str) -> None:
        """A Node object is gone."""
        self._present.discard(name)
        self._troubled.pop(name, None)

    def set_spod_nodes(self, names: Iterable[str], *, now: float) -> None:
        """Exactly these nodes have a pod of the spod DaemonSet."""
        with_spod = set(names)
        for name in self._present | with_spod:
            self._note(name, "no-spod", troubled=name not in with_spod, now=now)

    def gone_at(self, name: str) -> float | None:
        """When the node counts as gone, ``None`` if there is no sign of that; the past if it is absent."""
        if name not in self._present:
            return float("-inf")
        since = self._troubled.get(name)
        return min(since.values()) + self._gone_after_s if since else None

    def is_gone(self, name: str, now: float) -> bool:
        """Whether deletion must not wait for the node."""
        moment = self.gone_at(name)
        return moment is not None and moment <= now

    def _note(self, name: str, trouble: str, *, troubled: bool, now: float) -> None:
        since = self._troubled.setdefault(name, {})
        if troubled:
            since.setdefault(trouble, now)
        else:
            since.pop(trouble, None)
        if not since:
            del self._troubled[name]
