"""ProfileRecording: makes profiles from what selected pods do."""

from enum import StrEnum
from typing import Annotated

import msgspec

from spo.api.constraints import MAX_NAME, listed, schema, stored_default, words
from spo.api.meta import Conditions, ObjectMeta, Selector
from spo.api.resource import Resource
from spo.names import API_GROUP


class RecordedKind(StrEnum):
    """Kinds that can be recorded."""

    SECCOMP_PROFILE = "SeccompProfile"
    SELINUX_PROFILE = "SelinuxProfile"


class Recorder(StrEnum):
    """What observes the containers."""

    BPF = "bpf"
    HOOK = "hook"
    LOGS = "logs"


class MergeStrategy(StrEnum):
    """What becomes of the profiles of several pods."""

    NONE = "none"
    CONTAINERS = "containers"


class ProfileRecordingSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Which containers are recorded, and how."""

    kind: Annotated[str, words(RecordedKind)]
    """Kind of the profiles to make."""
    recorder: Annotated[str, words(Recorder)]
    """What observes the containers: the eBPF recorder, an OCI hook, or the audit log."""
    pod_selector: Selector
    """Pods to record; an empty selector selects every pod of the namespace."""
    containers: Annotated[list[Annotated[str, schema(minLength=1, maxLength=63)]], listed(256)] = []
    """Names of the containers to record; none: all, also those that initialise the pod."""
    merge_strategy: Annotated[str, words(MergeStrategy, default=MergeStrategy.NONE)] = MergeStrategy.NONE
    """``none`` makes a profile for each pod, ``containers`` one for all pods with the same container."""
    disable_profile_after_recording: Annotated[bool, stored_default(False)] = False
    """Make profiles that are not installed until they are enabled."""


class RecordedContainer(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """What was seen of one container."""

    name: Annotated[str, schema(maxLength=63)]
    """Name of the container."""
    pods: Annotated[int, schema(format="int32", minimum=0)] = 0
    """In how many pods it was seen."""
    syscalls: Annotated[int, schema(format="int32", minimum=0)] = 0
    """How many different syscalls it made."""
    last_new_syscall_time: Annotated[str, schema(format="date-time")] | None = None
    """When it last made a syscall that was not recorded before."""
    lost: Annotated[int, schema(format="int64", minimum=0)] = 0
    """How many observations were lost: above 0 the profile may be incomplete."""


class ProfileRecordingStatus(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """How far the recording is; written by the manager only."""

    conditions: Conditions = []
    """``Ready`` is True when every new pod is recorded."""
    active_workloads: Annotated[list[Annotated[str, schema(maxLength=MAX_NAME)]], listed(50)] = []
    """Pods being recorded; the first 50."""
    active_workload_count: Annotated[int, schema(format="int32", minimum=0)] = 0
    """How many pods are being recorded."""
    containers: Annotated[list[RecordedContainer], listed(256)] = []
    """What was seen of each container."""
    observed_generation: Annotated[int, schema(format="int64", minimum=0)] = 0
    """Generation of the recording that this was said about."""


class ProfileRecording(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Makes profiles from what the containers of selected pods do."""

    metadata: ObjectMeta
    spec: ProfileRecordingSpec
    """Which containers are recorded, and how."""
    status: ProfileRecordingStatus | None = None
    """How far the recording is; written by the operator."""


PROFILE_RECORDINGS = Resource(
    API_GROUP, "v1alpha1", "ProfileRecording", "profilerecordings", True, ProfileRecording
)
