"""Look again at files that somebody changed on the disk."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from spo import klog
from spo.api.node_status import StatusKey
from spo.host.dir_watch import DirWatch
from spo.kube.clock import Clock, Timer
from spo.profiles.file_owner import file_stem
from spo.profiles.paths import SUFFIX, ProfileKey

log = klog.get("seccomp-spod")

COLLECT_S: Final = 0.1
"""How long changes are collected; also a bound to how often we answer somebody who fights with us."""


class FileChanges:
    """Wakes the claimed profiles whose files may have changed; files that nobody claims are not ours."""

    def __init__(
        self,
        root: Path,
        claims: Callable[[], Iterable[str]],
        is_as_left: Callable[[ProfileKey], bool],
        wake: Callable[[str], None],
        clock: Clock,
    ) -> None:
        """Take what it works with.

        Args:
            claims: keys ``<Kind>/<namespace>/<name>`` of this node's status.
            is_as_left: whether nobody but this process has touched a file.
            wake: called with such a key.
        """
        self._claims = claims
        self._is_as_left = is_as_left
        self._wake = wake
        self._clock = clock
        self._watch = DirWatch(root, self.changed)
        self._changed: set[tuple[str | None, str | None]] = set()
        self._timer: Timer | None = None

    async def run(self) -> None:
        """Watch until cancelled; a directory that cannot be watched costs the restoring, nothing else."""
        try:
            await self._watch.run()
        except OSError as error:
            log.warning("Files changed by hand will not be restored at once", problem=str(error))
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def changed(self, namespace: str | None, file: str | None) -> None:
        """Something happened somewhere; see :data:`spo.host.dir_watch.Listener`."""
        if file is not None and not file.endswith(SUFFIX):
            return
        self._changed.add((namespace, file))
        if self._timer is None:
            self._timer = self._clock.call_later(COLLECT_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        changed, self._changed = self._changed, set()
        for key in tuple(self._claims()):
            about = StatusKey.parse(key)
            if about is None:
                continue
            file = ProfileKey(about.namespace, file_stem(about.name))
            places = {(None, None), (file.namespace, None), (file.namespace, file.name + SUFFIX)}
            if not changed.isdisjoint(places) and not self._is_as_left(file):
                self._wake(key)
