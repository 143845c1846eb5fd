"""The recorder in the kernel, as the service needs it, and its pins."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from spo import klog
from spo.bpf.errors import RecorderError
from spo.bpf.observation import Observation, Phase, SyscallClass
from spo.bpf.programs import unpin
from spo.bpf.recorder import IdentificationEvent, Losses, Namespace, Recorder, pin_directory

log = klog.get("bpf-recorder")

_LAYOUT_HASH: Final = re.compile(r"[0-9a-f]{8,64}")
_GETPPID: Final = {"x86_64": 110, "aarch64": 173}


class SelfTestFailedError(RecorderError):
    """The object loads and attaches, but what it records is not what was done."""

    def __str__(self) -> str:
        return "self-test: the recorder does not record a call that this process made; update the kernel"


class KernelRecorder(Protocol):
    """The part of :class:`spo.bpf.recorder.Recorder` that records namespaces."""

    def attach(self) -> None:
        """See the calls of the whole machine."""

    def detach(self) -> None:
        """See nothing more, and remove the pins."""

    def record_namespaces(self, enabled: bool) -> None:
        """Record every new mount namespace, or none."""

    def namespaces(self) -> Sequence[Namespace]:
        """All that were seen and not forgotten."""

    def namespace(self, key: int) -> Namespace | None:
        """One of them."""

    def read(self, key: int) -> Observation:
        """What was seen in a namespace."""

    def reset(self, key: int) -> None:
        """Forget what was seen, and go on."""

    def reject(self, key: int) -> None:
        """Forget what was seen, and record nothing more."""

    def forget(self, key: int) -> None:
        """Give the memory of a namespace back."""

    def events(self, timeout_ms: int = 0) -> Sequence[IdentificationEvent]:
        """What was announced since the last call."""

    def event_fd(self) -> int:
        """Readable when there are events."""

    def losses(self) -> Losses:
        """What could not be recorded."""

    def pin(self, directory: Path) -> None:
        """Outlive this process."""

    def close(self) -> None:
        """Give everything back that is not pinned."""


class Kernel(Protocol):
    """Where recorders come from. Every method raises RecorderError, one clear line."""

    def start(self) -> KernelRecorder:
        """A recorder that is loaded, attached and pinned, and records every new namespace."""

    def adopt(self) -> KernelRecorder:
        """The one that an earlier process left pinned."""

    def remove_pins(self) -> bool:
        """Remove what an earlier process of this version left; whether there was something."""

    def remove_other_pins(self) -> list[str]:
        """Remove what other versions left; their names."""

    def self_test(self) -> None:
        """Load, attach, see a call of our own, detach."""


class BpfKernel:
    """The kernel of this machine.

    Args:
        pin_root: each version of the object pins in a directory of its own below.
        btf: see :meth:`Recorder.load`.
    """

    def __init__(self, pin_root: Path, btf: Path | None) -> None:
        self._pin_root = pin_root
        self._btf = btf

    def start(self) -> Recorder:
        """See :class:`Kernel`."""
        recorder = self._load()
        try:
            # Before attach: a container that starts in between must not look complete.
            recorder.record_namespaces(True)
            self._attach(recorder)
            recorder.pin(pin_directory(self._pin_root))
        except BaseException:
            recorder.close()
            raise
        return recorder

    def adopt(self) -> Recorder:
        """See :class:`Kernel`."""
        return Recorder.adopt(pin_directory(self._pin_root))

    def remove_pins(self) -> bool:
        """See :class:`Kernel`."""
        directory = pin_directory(self._pin_root)
        found = directory.is_dir()
        unpin(directory)
        return found

    def remove_other_pins(self) -> list[str]:
        """See :class:`Kernel`. Only directories whose names look like ours."""
        own = pin_directory(self._pin_root).name
        try:
            names = sorted(path.name for path in self._pin_root.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RecorderError(f"cannot look for pins in {self._pin_root}: {error.strerror}") from error
        others = [name for name in names if name != own and _LAYOUT_HASH.fullmatch(name)]
        for name in others:
            unpin(self._pin_root / name)
        return others

    def self_test(self) -> None:
        """See :class:`Kernel`."""
        with self._load() as recorder:
            self._attach(recorder)
            recorder.add_process(os.getpid(), running=True)
            os.getppid()
            seen = recorder.tree().numbers(SyscallClass.NATIVE, Phase.PROGRAM)
            log.info("Unloading bpf module")
            recorder.detach()
        if _GETPPID[os.uname().machine] not in seen:
            raise SelfTestFailedError

    def _load(self) -> Recorder:
        log.info("Loading bpf module")
        log.info("Using system btf file" if self._btf is None else "Using custom btf file")
        log.info("Loading bpf object from module")
        return Recorder.load(btf=self._btf)

    def _attach(self, recorder: Recorder) -> None:
        log.info("Attaching bpf tracepoint")
        recorder.attach()
        log.info("Module successfully loaded, watching for events")
