"""The alert rules and the dashboard, as Prometheus understands them; needs promtool of Debian."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from spo.controller import Controller, Request, Result
from spo.controller.metrics import ClientMetrics, ControllerMetrics, runtime_registry
from spo.daemon.audit_metrics import AuditMetrics
from spo.daemon.metrics import AppArmorProfileMetrics, SeccompProfileMetrics, SelinuxProfileMetrics
from spo.daemon.metrics_recording import RecordingMetrics

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/monitoring/alerts.yaml"
DASHBOARD = ROOT / "deploy/monitoring/dashboard.json"
RULE_TESTS = ROOT / "tests/data/monitoring/alerts_test.yaml"
VARIABLES = {"$__rate_interval": "1m", "$namespace": ".*", "$pod": ".*"}


def promtool(*arguments: str, cwd: Path) -> str:
    program = shutil.which("promtool")
    assert program, "no promtool: run tools/setup.py --monitoring"
    done = subprocess.run((program, *arguments), cwd=cwd, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expressions_of_the_dashboard() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for variable, value in VARIABLES.items():
        found = [expression.replace(variable, value) for expression in found]
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def test_the_alerts_do_what_they_say(tmp_path: Path) -> None:
    for file in (ALERTS, RULE_TESTS):
        shutil.copy(file, tmp_path)

    assert f"{len(rules())} rules found" in promtool("check", "rules", ALERTS.name, cwd=tmp_path)
    assert "SUCCESS" in promtool("test", "rules", RULE_TESTS.name, cwd=tmp_path)


def test_every_alert_is_tested() -> None:
    tests = yaml.safe_load(RULE_TESTS.read_text())["tests"]
    fired = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]}

    assert fired == {rule["alert"] for rule in rules()}


def test_prometheus_understands_every_panel(tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(expressions_of_the_dashboard())
    ]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))

    assert f"{len(recorded)} rules found" in promtool("check", "rules", "panels.yaml", cwd=tmp_path)


class Idle:
    async def reconcile(self, _: Request) -> Result:
        return Result()


@pytest.fixture
def served() -> set[str]:
    """The names that daemons serve."""
    controller = Controller("seccomp-spod", Idle())
    controllers = ControllerMetrics()
    controllers.follow([controller])
    registry = CollectorRegistry()
    for kind in (SeccompProfileMetrics, SelinuxProfileMetrics, AppArmorProfileMetrics):
        kind(registry)
    recording = RecordingMetrics(registry, "node")
    AuditMetrics(registry, "node", lambda *_: True, merged=recording.merged)
    page = generate_latest(runtime_registry(controllers, ClientMetrics("api", {}))) + generate_latest(
        registry
    )
    return {line.split()[2] for line in page.decode().splitlines() if line.startswith("# TYPE ")}


def names_in(expressions: list[str]) -> Iterator[str]:
    for expression in expressions:
        yield from re.findall(
            r"\b(?:security_profiles_operator_|workqueue_|controller_runtime_)\w+", expression
        )


def test_nobody_asks_for_a_metric_that_is_not_served(served: set[str]) -> None:
    asked = set(names_in([*expressions_of_the_dashboard(), *(rule["expr"] for rule in rules())]))

    assert len(asked) > 10
    assert asked <= served


def test_every_counter_of_the_operator_is_on_the_dashboard(served: set[str]) -> None:
    ours = {name for name in served if name.startswith("security_profiles_operator_")}

    assert ours <= set(names_in(expressions_of_the_dashboard()))


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
