"""How large a profile may be so that building its filter is a matter of a second, not of hours.

libseccomp's time grows with the third power of the conditions on one syscall, and with the square of
repeated rules. A profile is input from users of the cluster: one must not keep every node busy.
"""

from collections import Counter
from typing import Final

from spo.api.seccomp_profile import SeccompProfileSpec
from spo.profiles.errno_ret import InvalidProfileError

MAX_RULES_OF_A_SYSCALL: Final = 128
"""Rules with conditions for one syscall."""

MAX_CONDITIONS: Final = 1024
"""Conditions of all rules for all their syscalls. The worst filter within these bounds takes two seconds."""

MAX_NAMES: Final = 16384
"""Names in all rules, repetitions included: Linux has about 500 syscalls for each architecture."""


def check_size(spec: SeccompProfileSpec) -> None:
    """Raise InvalidProfileError for a profile whose filter would take too long to build."""
    names = sum(len(entry.names) for entry in spec.syscalls)
    if names > MAX_NAMES:
        raise InvalidProfileError("syscalls", f"{names} names in all rules; at most {MAX_NAMES} may be")
    conditions = sum(len(entry.names) * len(entry.args) for entry in spec.syscalls)
    if conditions > MAX_CONDITIONS:
        problem = (
            f"{conditions} conditions on arguments (for each name of a rule); at most {MAX_CONDITIONS} may be"
        )
        raise InvalidProfileError("syscalls", problem)
    rules = Counter(name for entry in spec.syscalls if entry.args for name in entry.names)
    for name, count in rules.most_common(1):
        if count > MAX_RULES_OF_A_SYSCALL:
            problem = f"{count} rules with conditions for {name}; at most {MAX_RULES_OF_A_SYSCALL} may be"
            raise InvalidProfileError("syscalls", problem)
