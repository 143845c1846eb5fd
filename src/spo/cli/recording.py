"""``spoc recording``: what the ProfileRecordings of a cluster have seen, and profiles before a pod ends."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

import click

from spo.api.profile_recording import PROFILE_RECORDINGS, ProfileRecording, RecordedContainer
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.cli.group import HELP_OPTIONS
from spo.cli.output import say
from spo.cli.text import printable
from spo.errors import SpoError
from spo.kube.client import KubeClient
from spo.kube.clock import format_time
from spo.kube.config import load_config
from spo.kube.listing import list_all
from spo.names import RECORDED_POD_LABEL, RECORDING_LABEL, SNAPSHOT_ANNOTATION, SNAPSHOT_OF_ANNOTATION
from spo.recording.merged import lost_of
from spo.recording.recorded_profile import recording_label

T = TypeVar("T")

POLL_S: Final = 0.5
COLUMNS: Final = ("NAMESPACE", "NAME", "RECORDER", "PODS", "CONTAINERS", "SYSCALLS", "LOST")


class SnapshotTimeoutError(SpoError):
    """Not all profiles came in time."""

    def __init__(self, found: int, wanted: int, timeout_s: float) -> None:
        super().__init__(found, wanted, timeout_s)
        self.found = found
        self.wanted = wanted
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return (
            f"profiles of {self.found} of {self.wanted} pods within {self.timeout_s:g} s: see "
            "'kubectl get events' for the others"
        )


_namespace = click.option("-n", "--namespace", metavar="NAME", help="Default: the one of the kubeconfig.")


@click.group(context_settings=HELP_OPTIONS)
def recording() -> None:
    """Show what a cluster has recorded, ask for profiles of running pods.

    Needs a kubeconfig: $KUBECONFIG, or that of the pod it runs in.

    \b
    Examples:
      spoc recording list -A
      spoc recording snapshot -n team my-recording
    """


@recording.command("list")
@_namespace
@click.option("-A", "--all-namespaces", is_flag=True, help="Of all namespaces.")
def list_(*, namespace: str | None, all_namespaces: bool) -> None:
    """List recordings: pods being recorded, containers and syscalls seen.

    \b
    Example:
      spoc recording list -A
    """
    where = None if all_namespaces else namespace or _default_namespace()
    found = _run(lambda client: list_all(client, PROFILE_RECORDINGS, where))
    rows = [COLUMNS, *(_row(one) for one in found)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(COLUMNS))]
    for row in rows:
        say("   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@recording.command()
@_namespace
@click.argument("name")
def show(*, namespace: str | None, name: str) -> None:
    """Show one recording: its pods, its containers and its profiles.

    \b
    Example:
      spoc recording show my-recording
    """
    where = namespace or _default_namespace()

    async def read(client: KubeClient) -> tuple[ProfileRecording, list[SeccompProfile]]:
        return await client.get(PROFILE_RECORDINGS, name, where), await _profiles(client, where, name)

    found, profiles = _run(read)
    spec, status = found.spec, found.status
    say(f"{where}/{name}: {spec.kind} by {spec.recorder}, merge {spec.merge_strategy}")
    say(f"Pods being recorded: {status.active_workload_count if status else 0}")
    for pod in status.active_workloads if status else ():
        say(f"  {pod}")
    say("Containers:")
    for one in status.containers if status else ():
        say(f"  {_container(one)}")
    say("Profiles:")
    for profile in profiles:
        say(f"  {_profile(profile)}")


@recording.command()
@_namespace
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Seconds to wait for the profiles; 0: do not wait.",
)
@click.argument("name")
def snapshot(*, namespace: str | None, timeout_s: float, name: str) -> None:
    """Write the profiles of pods that are still running.

    They are in state Partial, which no node installs, until their pods end.

    \b
    Example:
      spoc recording snapshot my-recording
    """
    where = namespace or _default_namespace()
    for profile in _run(lambda client: _take(client, where, name, timeout_s)):
        say(_profile(profile))


async def _take(client: KubeClient, namespace: str, name: str, timeout_s: float) -> list[SeccompProfile]:
    """Ask for a snapshot, and wait until every pod being recorded has one."""
    now = format_time(datetime.now(UTC))
    body = {"metadata": {"annotations": {SNAPSHOT_ANNOTATION: now}}}
    asked = await client.patch(PROFILE_RECORDINGS, name, namespace, body)
    wanted = asked.status.active_workload_count if asked.status else 0
    found: list[SeccompProfile] = []
    try:
        async with asyncio.timeout(timeout_s):
            while _pods(found) < wanted:
                await asyncio.sleep(POLL_S)
                every = await _profiles(client, namespace, name)
                found = [
                    one for one in every if one.metadata.annotations.get(SNAPSHOT_OF_ANNOTATION, "") >= now
                ]
    except TimeoutError as error:
        if timeout_s:
            raise SnapshotTimeoutError(_pods(found), wanted, timeout_s) from error
    click.echo(printable(f"Snapshot {now} of {wanted} pods"), err=True)
    return found


def _pods(profiles: list[SeccompProfile]) -> int:
    return len({one.metadata.labels.get(RECORDED_POD_LABEL) for one in profiles})


async def _profiles(client: KubeClient, namespace: str, name: str) -> list[SeccompProfile]:
    selector = f"{RECORDING_LABEL}={recording_label(name)}"
    page = await client.list_page(SECCOMP_PROFILES, namespace, label_selector=selector)
    return sorted(page.items, key=lambda one: one.metadata.name)


def _row(one: ProfileRecording) -> tuple[str, ...]:
    status = one.status
    containers = status.containers if status else []
    return (
        one.metadata.namespace or "",
        one.metadata.name,
        one.spec.recorder,
        str(status.active_workload_count if status else 0),
        str(len(containers)),
        str(max((container.syscalls for container in containers), default=0)),
        str(sum(container.lost for container in containers)),
    )


def _container(one: RecordedContainer) -> str:
    last = f", the last new one {one.last_new_syscall_time}" if one.last_new_syscall_time else ""
    return f"{one.name}: {one.syscalls} syscalls in {one.pods} pods{last}, {one.lost} lost"


def _profile(profile: SeccompProfile) -> str:
    metadata, status = profile.metadata, profile.status
    state = status.status if status and status.status else "Pending"
    names = len({name for rule in profile.spec.syscalls for name in rule.names})
    snapshot_of = metadata.annotations.get(SNAPSHOT_OF_ANNOTATION)
    of = f", snapshot of {snapshot_of}" if snapshot_of else ""
    return f"{metadata.name}: {state}, {names} syscalls allowed{of}, {lost_of(profile)} lost"


def _default_namespace() -> str:
    return load_config(os.environ).namespace or "default"


def _run(work: Callable[[KubeClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with KubeClient.from_env(os.environ, field_manager="spoc") as client:
            return await work(client)

    return asyncio.run(run())
