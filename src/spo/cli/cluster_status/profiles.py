"""Pure: profiles that are not installed, recordings, and what was lost."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from spo.api.node_status import NodeProfileState, ProfileState, StatusKey
from spo.api.profile_recording import ProfileRecording, Recorder
from spo.api.seccomp_profile import SeccompProfile
from spo.cli.cluster_status.control import daemon_nodes, main_spod, ready
from spo.cli.cluster_status.facts import Facts, age_s
from spo.cli.cluster_status.part import GRACE_S, PROFILES, RECORDINGS, Part
from spo.cli.cluster_status.report import (
    MAX_LISTED,
    Profiles,
    ProfileTrouble,
    Recordings,
    WaitingNode,
)
from spo.cli.text import enumerated
from spo.names import OPERATOR_NAME, PARTIAL_LABEL, SPOD_NAME
from spo.recording.merged import lost_of

KIND: Final = "SeccompProfile"
_WANTED: Final = frozenset({ProfileState.INSTALLED, ProfileState.PARTIAL, ProfileState.DISABLED})
_NEEDS: Final = {Recorder.BPF: "enableBpfRecorder", Recorder.LOGS: "enableLogEnricher"}


def profiles_part(facts: Facts) -> tuple[Part, Profiles]:
    """Profiles that should be on every node and are not."""
    part = Part(PROFILES)
    reports = {one.node_name: one.profiles for one in facts.node_statuses}
    nodes = daemon_nodes(facts)
    states = Counter(state_of(one) for one in facts.profiles)
    troubled = []
    for profile in sorted(facts.profiles, key=_key):
        if not _is_troubled(facts, profile):
            continue
        trouble = _trouble(profile, nodes, reports)
        troubled.append(trouble)
        about = f"{trouble.namespace}/seccompprofile/{trouble.name}"
        part.add(_sentence(trouble), _action(facts, profile, trouble), about)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    part.summary = counts or "none"
    return part, Profiles(
        by_state=dict(sorted(states.items())),
        not_installed=troubled[:MAX_LISTED],
        not_installed_count=len(troubled),
    )


def recordings_part(facts: Facts) -> tuple[Part, Recordings]:
    """Recordings, and what is doubtful about what they brought."""
    part = Part(RECORDINGS)
    spod = main_spod(facts.spods)
    enabled = {
        Recorder.BPF: spod is not None and spod.spec.enable_bpf_recorder,
        Recorder.LOGS: spod is not None and spod.spec.enable_log_enricher,
    }
    for one in sorted(facts.recordings, key=_key):
        _recording(facts, one, enabled, part)
    lossy = [one for one in facts.profiles if _lost(one)]
    for profile in sorted(lossy, key=_key):
        part.add(
            f"{_lost(profile)} observations were lost while it was recorded; it may be incomplete",
            "record it again, or add what is missing",
            f"{profile.metadata.namespace}/seccompprofile/{profile.metadata.name}",
        )
    found = Recordings(
        count=len(facts.recordings),
        recorded_pods=sum(one.status.active_workload_count for one in facts.recordings if one.status),
        partial_profiles=sum(PARTIAL_LABEL in one.metadata.labels for one in facts.profiles),
        lost=sum(_lost(one) for one in facts.profiles),
    )
    part.summary = (
        f"{found.count}, {found.recorded_pods} pods being recorded, {found.partial_profiles} partial "
        f"profiles, {found.lost} observations lost"
    )
    return part, found


def state_of(profile: SeccompProfile) -> str:
    """Its state, ``Pending`` if nobody has said anything about the present spec."""
    status = profile.status
    if status is None or not status.status:
        return ProfileState.PENDING
    if status.observed_generation < profile.metadata.generation:
        return ProfileState.PENDING
    return str(status.status)


def _is_troubled(facts: Facts, profile: SeccompProfile) -> bool:
    state = state_of(profile)
    metadata = profile.metadata
    if metadata.deletion_timestamp:
        return age_s(facts, metadata.deletion_timestamp) > GRACE_S
    if state in _WANTED:
        return False
    if state == ProfileState.ERROR:
        return True
    condition = ready(profile.status.conditions if profile.status else ())
    begun = [metadata.creation_timestamp, condition.last_transition_time if condition else None]
    return min((age_s(facts, one) for one in begun if one), default=GRACE_S + 1) > GRACE_S


def _trouble(
    profile: SeccompProfile, nodes: Iterable[str], reports: Mapping[str, Mapping[str, NodeProfileState]]
) -> ProfileTrouble:
    metadata, status = profile.metadata, profile.status
    key = str(StatusKey(KIND, metadata.namespace or "", metadata.name))
    found = []
    for node in nodes:
        entry = reports.get(node, {}).get(key)
        if entry is None:
            found.append(WaitingNode(node_name=node, message="not taken up"))
        elif entry.generation != metadata.generation or entry.state != ProfileState.INSTALLED:
            found.append(WaitingNode(node_name=node, message=entry.message or str(entry.state)))
    condition = ready(status.conditions if status else ())
    state = "Terminating" if metadata.deletion_timestamp else state_of(profile)
    return ProfileTrouble(
        namespace=metadata.namespace or "",
        name=metadata.name,
        state=state,
        message=condition.message if condition else "",
        nodes=found[:MAX_LISTED],
        node_count=len(found),
    )


def _sentence(trouble: ProfileTrouble) -> str:
    nodes = [f"{one.node_name}: {one.message}" if one.message else one.node_name for one in trouble.nodes]
    more = trouble.node_count - len(nodes)
    told = "; ".join([*nodes, *([f"and {more} more nodes"] if more else [])]) or trouble.message
    return f"{trouble.state}{f' - {told}' if told else ''}"


def _action(facts: Facts, profile: SeccompProfile, trouble: ProfileTrouble) -> str:
    status = profile.status
    users = status.active_workloads if status else []
    if trouble.state == "Terminating" and users:
        return f"pods still use it, delete them first: {enumerated(users)}"
    if trouble.state == ProfileState.ERROR:
        return f"kubectl -n {trouble.namespace} describe seccompprofile {trouble.name}; correct its spec"
    nodes = enumerated([one.node_name for one in trouble.nodes]) or "the nodes"
    return f"see the daemons of {nodes}: kubectl -n {facts.namespace} logs ds/{SPOD_NAME} -c {OPERATOR_NAME}"


def _recording(facts: Facts, one: ProfileRecording, enabled: Mapping[Recorder, bool], part: Part) -> None:
    metadata = one.metadata
    about = f"{metadata.namespace}/profilerecording/{metadata.name}"
    recorder = Recorder(one.spec.recorder)
    if not enabled.get(recorder, True):
        patch = f'{{"spec":{{"{_NEEDS[recorder]}":true}}}}'
        part.add(
            f"its recorder {recorder} does not run on the nodes",
            f"kubectl -n {facts.namespace} patch spod {SPOD_NAME} --type=merge -p '{patch}'",
            about,
        )
    if metadata.deletion_timestamp:
        pods = one.status.active_workloads if one.status else []
        if age_s(facts, metadata.deletion_timestamp) > GRACE_S:
            action = f"delete the pods that it records: {enumerated(pods)}" if pods else ""
            part.add("it is being deleted and waits for its pods", action, about)
        return
    condition = ready(one.status.conditions if one.status else ())
    if condition is not None and condition.status == "True":
        return
    since = condition.last_transition_time if condition else metadata.creation_timestamp
    if age_s(facts, since) > GRACE_S:
        text = condition.message or condition.reason if condition else "nobody has looked at it"
        part.add(
            f"new pods are not recorded: {text}", "see the webhooks and the manager above, if wrong", about
        )


def _lost(profile: SeccompProfile) -> int:
    return lost_of(profile)


def _key(one: SeccompProfile | ProfileRecording) -> tuple[str, str]:
    return one.metadata.namespace or "", one.metadata.name
