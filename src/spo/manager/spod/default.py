"""Pure: the spod object that there is without anybody's doing."""

from typing import Any

from spo.names import OPERATOR_NAME


def default_spod(namespace: str, name: str, *, enable_selinux: bool) -> dict[str, Any]:
    """The object as it is sent; written out, so that ``kubectl edit`` shows what there is to set."""
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": OPERATOR_NAME}},
        "spec": {
            "verbosity": 0,
            "enableProfiling": False,
            "enableSelinux": enable_selinux,
            "enableLogEnricher": False,
            "enableBpfRecorder": False,
            "enableAppArmor": False,
            "hostProcVolumePath": "/proc",
            "selinuxOptions": {"allowedSystemProfiles": ["container"]},
            "tolerations": [
                {"key": "node-role.kubernetes.io/master", "operator": "Exists", "effect": "NoSchedule"},
                {
                    "key": "node-role.kubernetes.io/control-plane",
                    "operator": "Exists",
                    "effect": "NoSchedule",
                },
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
            ],
        },
    }
