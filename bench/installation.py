"""From `kubectl apply -f deploy/operator.yaml` to a running operator: on a cluster that has nothing yet."""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.results import table, write_section  # noqa: E402

from spo.manager.default_profile_data import DEFAULT_PROFILES  # noqa: E402
from tools.devcluster import OPERATOR_NAMESPACE, DevCluster, free_port, installed_objects  # noqa: E402

ROUNDS = 3
PROMISED_S = 30.0


def install(cluster: DevCluster) -> dict[str, float]:
    """Seconds until each state is reached, counted from the begin of ``kubectl apply``."""
    where = (f"--namespace={OPERATOR_NAMESPACE}", "--timeout=120s")
    found: dict[str, float] = {}
    began = time.monotonic()

    def reached(what: str) -> None:
        found[what] = time.monotonic() - began

    cluster.apply(*installed_objects("operator.yaml", cluster.node_root))
    reached("applied")
    cluster.kubectl("wait", "--for=create", "spod/spod", *where)
    reached("spod created: a manager leads")
    cluster.kubectl("wait", "--for=jsonpath={.status.state}=RUNNING", "spod/spod", *where)
    reached("spod RUNNING")
    profiles = [f"seccompprofile/{name}" for name in DEFAULT_PROFILES]
    cluster.kubectl("wait", "--for=jsonpath={.status.status}=Installed", *profiles, *where)
    reached("default profiles Installed")
    return found


def one_round() -> dict[str, float]:
    """A cluster of its own, taken away again."""
    folder = Path(tempfile.mkdtemp(prefix="spo-bench-install-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "node/var/lib").mkdir(parents=True)
    cluster = DevCluster(
        state=folder / "state", node_root=folder / "node", port=free_port(), node_name="bench-node"
    )
    try:
        cluster.build_image()
        cluster.start_empty_api()
        return install(cluster)
    finally:
        cluster.down()
        shutil.rmtree(folder)


def report(rounds: list[dict[str, float]]) -> str:
    """The section."""
    rows = []
    for what in rounds[0]:
        values = [one[what] for one in rounds]
        promise = f"<= {PROMISED_S:.0f}" if what == list(rounds[0])[-1] else "-"
        rows.append((what, f"{statistics.median(values):.1f}", f"{max(values):.1f}", promise))
    return table(
        ("seconds after `kubectl apply -f deploy/operator.yaml`", "median", "worst", "promise"), rows
    )


def main() -> None:
    """Measure and write."""
    rounds = [one_round() for _ in range(ROUNDS)]
    text = report(rounds)
    print(text)
    write_section(
        "From one manifest to a running operator (bench/installation.py)",
        f"{len(rounds)} rounds, image present: 3 managers, 3 webhooks, 1 node.\n\n{text}",
    )


if __name__ == "__main__":
    main()
