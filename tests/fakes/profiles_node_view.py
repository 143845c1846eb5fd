"""What decides about the files of a node, as a test sets it."""

from dataclasses import dataclass, field

from spo.profiles.allowance import Allowance
from spo.profiles.paths import ProfileKey


@dataclass
class FakeNodeView:
    """See :class:`spo.daemon.seccomp_profile.NodeView`."""

    in_use: set[ProfileKey] = field(default_factory=set)
    certain: bool = True
    strict: bool = False
    allowed: Allowance | None = None

    def is_referenced(self, file: ProfileKey) -> bool:
        return file in self.in_use

    def is_certain(self, file: ProfileKey) -> bool:
        return self.certain

    def is_strict(self) -> bool:
        return self.strict

    def allowance(self) -> Allowance | None:
        return self.allowed
