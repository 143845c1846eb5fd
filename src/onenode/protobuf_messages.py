"""Which fields the protobuf messages of Kubernetes objects have: numbers, names, types.

Pure data for :mod:`onenode.protobuf`: the kinds that kubectl sends in no other form, with the fields that are
served here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["INLINE", "MESSAGES", "Field"]

INLINE: Final = "+"
"""Name of a field whose content belongs to the message around it."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    ``kind`` is ``str``, ``int``, ``bool``, ``bytes``, ``time``, ``map`` (of strings), ``bytesmap``,
    ``amount`` (a quantity), ``amounts`` (a map of them), ``intorstr``, or the name of a message.
    ``pointer``: present means set, even to zero; other fields are always sent and zero means unset.
    The name ``INLINE``: the content belongs to the message around it, as that of Go's embedded structs
    does in JSON.
    """

    name: str
    kind: str
    repeated: bool = False
    pointer: bool = False


def _message(text: str) -> dict[int, Field]:
    """Read ``1 name str, 2 spec* Spec, 3 items[] str``."""
    fields: dict[int, Field] = {}
    for part in filter(None, text.split(",")):
        number, name, kind = part.split()
        bare = name.removesuffix("[]").removesuffix("*")
        fields[int(number)] = Field(bare, kind, repeated=name.endswith("[]"), pointer=name.endswith("*"))
    return fields


_REVIEW: Final = "1 metadata ObjectMeta, 2 spec {}Spec, 3 status {}Status"
MESSAGES: Final = {
    name: _message(text)
    for name, text in {
        "Unknown": "1 typeMeta TypeMeta, 2 raw raw, 3 contentEncoding str, 4 contentType str",
        "TypeMeta": "1 apiVersion str, 2 kind str",
        "ObjectMeta": "1 name str, 2 generateName str, 3 namespace str, 4 selfLink str, 5 uid str, "
        "6 resourceVersion str, 7 generation int, 8 creationTimestamp time, 9 deletionTimestamp* time, "
        "10 deletionGracePeriodSeconds* int, 11 labels map, 12 annotations map, "
        "13 ownerReferences[] OwnerReference, 14 finalizers[] str",
        "OwnerReference": "1 kind str, 3 name str, 4 uid str, 5 apiVersion str, 6 controller* bool, "
        "7 blockOwnerDeletion* bool",
        "Namespace": "1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 status NamespaceStatus",
        "NamespaceSpec": "1 finalizers[] str",
        "NamespaceStatus": "1 phase str",
        "ConfigMap": "1 metadata ObjectMeta, 2 data map, 3 binaryData bytesmap, 4 immutable* bool",
        "Secret": "1 metadata ObjectMeta, 2 data bytesmap, 3 type str, 4 stringData map, 5 immutable* bool",
        "ServiceAccount": "1 metadata ObjectMeta, 4 automountServiceAccountToken* bool",
        "Role": "1 metadata ObjectMeta, 2 rules[] PolicyRule",
        "ClusterRole": "1 metadata ObjectMeta, 2 rules[] PolicyRule, 3 aggregationRule* AggregationRule",
        "AggregationRule": "1 clusterRoleSelectors[] LabelSelector",
        "PolicyRule": "1 verbs[] str, 2 apiGroups[] str, 3 resources[] str, 4 resourceNames[] str, "
        "5 nonResourceURLs[] str",
        "RoleBinding": "1 metadata ObjectMeta, 2 subjects[] Subject, 3 roleRef RoleRef",
        "ClusterRoleBinding": "1 metadata ObjectMeta, 2 subjects[] Subject, 3 roleRef RoleRef",
        "Subject": "1 kind str, 2 apiGroup str, 3 name str, 4 namespace str",
        "RoleRef": "1 apiGroup str, 2 kind str, 3 name str",
        "TokenRequest": _REVIEW.format("TokenRequest", "TokenRequest"),
        "TokenRequestSpec": "1 audiences[] str, 3 boundObjectRef* BoundObjectReference, "
        "4 expirationSeconds* int",
        "TokenRequestStatus": "1 token str, 2 expirationTimestamp time",
        "BoundObjectReference": "1 kind str, 2 apiVersion str, 3 name str, 4 uid str",
        "SelfSubjectReview": "1 metadata ObjectMeta, 2 status SelfSubjectReviewStatus",
        "SelfSubjectReviewStatus": "1 userInfo UserInfo",
        "UserInfo": "1 username str, 2 uid str, 3 groups[] str",
        "SelfSubjectAccessReview": _REVIEW.format("SelfSubjectAccessReview", "SubjectAccessReview"),
        "SelfSubjectAccessReviewSpec": "1 resourceAttributes* ResourceAttributes, "
        "2 nonResourceAttributes* NonResourceAttributes",
        "ResourceAttributes": "1 namespace str, 2 verb str, 3 group str, 4 version str, 5 resource str, "
        "6 subresource str, 7 name str",
        "NonResourceAttributes": "1 path str, 2 verb str",
        "SubjectAccessReviewStatus": "1 allowed bool, 2 reason str, 3 evaluationError str, 4 denied bool",
        "SelfSubjectRulesReview": _REVIEW.format("SelfSubjectRulesReview", "SubjectRulesReview"),
        "SelfSubjectRulesReviewSpec": "1 namespace str",
        "SubjectRulesReviewStatus": "3 incomplete bool, 4 evaluationError str",
        "Deployment": "1 metadata ObjectMeta, 2 spec DeploymentSpec, 3 status DeploymentStatus",
        "DeploymentSpec": "1 replicas* int, 2 selector* LabelSelector, 3 template PodTemplateSpec, "
        "4 strategy DeploymentStrategy, 5 minReadySeconds int, 6 revisionHistoryLimit* int, 7 paused bool, "
        "9 progressDeadlineSeconds* int",
        "DeploymentStrategy": "1 type str",
        "DeploymentStatus": "1 observedGeneration int, 2 replicas int, 3 updatedReplicas int, "
        "4 availableReplicas int, 5 unavailableReplicas int, 7 readyReplicas int",
        "LabelSelector": "1 matchLabels map, 2 matchExpressions[] LabelSelectorRequirement",
        "LabelSelectorRequirement": "1 key str, 2 operator str, 3 values[] str",
        "DeleteOptions": "1 gracePeriodSeconds* int, 2 preconditions* Preconditions, "
        "3 orphanDependents* bool, 4 propagationPolicy* str, 5 dryRun[] str",
        "Preconditions": "1 uid* str, 2 resourceVersion* str",
        "Job": "1 metadata ObjectMeta, 2 spec JobSpec, 3 status JobStatus",
        "JobSpec": "1 parallelism* int, 2 completions* int, 3 activeDeadlineSeconds* int, "
        "4 selector* LabelSelector, 5 manualSelector* bool, 6 template PodTemplateSpec, 7 backoffLimit* int, "
        "8 ttlSecondsAfterFinished* int, 9 completionMode* str, 10 suspend* bool",
        "JobStatus": "4 active int, 5 succeeded int, 6 failed int, 7 completedIndexes str",
        "Service": "1 metadata ObjectMeta, 2 spec ServiceSpec, 3 status ServiceStatus",
        "ServiceSpec": "1 ports[] ServicePort, 2 selector map, 3 clusterIP str, 4 type str, "
        "5 externalIPs[] str, 7 sessionAffinity str, 8 loadBalancerIP str, 9 loadBalancerSourceRanges[] str, "
        "10 externalName str, 11 externalTrafficPolicy str, 12 healthCheckNodePort int, "
        "13 publishNotReadyAddresses bool, 17 ipFamilyPolicy* str, 18 clusterIPs[] str, 19 ipFamilies[] str, "
        "22 internalTrafficPolicy* str",
        "ServicePort": "1 name str, 2 protocol str, 3 port int, 4 targetPort intorstr, 5 nodePort int, "
        "6 appProtocol* str",
        "ServiceStatus": "1 loadBalancer LoadBalancerStatus",
        "LoadBalancerStatus": "",
        "PodTemplateSpec": "1 metadata ObjectMeta, 2 spec PodSpec",
        "Pod": "1 metadata ObjectMeta, 2 spec PodSpec, 3 status PodStatus",
        "PodStatus": "1 phase str, 3 message str, 4 reason str, 5 hostIP str, 6 podIP str, 9 qosClass str, "
        "11 nominatedNodeName str, 14 resize str, 17 observedGeneration int",
        "PodSpec": "1 volumes[] Volume, 2 containers[] Container, 3 restartPolicy str, "
        "4 terminationGracePeriodSeconds* int, 5 activeDeadlineSeconds* int, 6 dnsPolicy str, "
        "7 nodeSelector map, 8 serviceAccountName str, 9 serviceAccount str, 10 nodeName str, "
        "11 hostNetwork bool, 12 hostPID bool, 13 hostIPC bool, 14 securityContext* PodSecurityContext, "
        "15 imagePullSecrets[] LocalObjectReference, 16 hostname str, 17 subdomain str, "
        "19 schedulerName str, 20 initContainers[] Container, 21 automountServiceAccountToken* bool, "
        "22 tolerations[] Toleration, 23 hostAliases[] HostAlias, 24 priorityClassName str, "
        "25 priority* int, 27 shareProcessNamespace* bool, 30 enableServiceLinks* bool, "
        "31 preemptionPolicy* str, 37 hostUsers* bool, 38 schedulingGates[] PodSchedulingGate",
        "LocalObjectReference": "1 name str",
        "HostAlias": "1 ip str, 2 hostnames[] str",
        "PodSchedulingGate": "1 name str",
        "Toleration": "1 key str, 2 operator str, 3 value str, 4 effect str, 5 tolerationSeconds* int",
        "PodSecurityContext": "1 seLinuxOptions* SELinuxOptions, 2 runAsUser* int, 3 runAsNonRoot* bool, "
        "4 supplementalGroups[] int, 5 fsGroup* int, 6 runAsGroup* int, 7 sysctls[] Sysctl, "
        "9 fsGroupChangePolicy* str, 10 seccompProfile* LocalProfile, 11 appArmorProfile* LocalProfile, "
        "12 supplementalGroupsPolicy* str",
        "SecurityContext": "1 capabilities* Capabilities, 2 privileged* bool, "
        "3 seLinuxOptions* SELinuxOptions, 4 runAsUser* int, 5 runAsNonRoot* bool, "
        "6 readOnlyRootFilesystem* bool, 7 allowPrivilegeEscalation* bool, 8 runAsGroup* int, "
        "9 procMount* str, 11 seccompProfile* LocalProfile, 12 appArmorProfile* LocalProfile",
        "LocalProfile": "1 type str, 2 localhostProfile* str",
        "SELinuxOptions": "1 user str, 2 role str, 3 type str, 4 level str",
        "Sysctl": "1 name str, 2 value str",
        "Capabilities": "1 add[] str, 2 drop[] str",
        "Container": "1 name str, 2 image str, 3 command[] str, 4 args[] str, 5 workingDir str, "
        "6 ports[] ContainerPort, 7 env[] EnvVar, 8 resources ResourceRequirements, "
        "9 volumeMounts[] VolumeMount, 10 livenessProbe* Probe, 11 readinessProbe* Probe, "
        "12 lifecycle* Lifecycle, 13 terminationMessagePath str, 14 imagePullPolicy str, "
        "15 securityContext* SecurityContext, 16 stdin bool, 17 stdinOnce bool, 18 tty bool, "
        "19 envFrom[] EnvFromSource, 20 terminationMessagePolicy str, 22 startupProbe* Probe, "
        "24 restartPolicy* str",
        "ContainerPort": "1 name str, 2 hostPort int, 3 containerPort int, 4 protocol str, 5 hostIP str",
        "EnvVar": "1 name str, 2 value str, 3 valueFrom* EnvVarSource",
        "EnvVarSource": "1 fieldRef* ObjectFieldSelector, 2 resourceFieldRef* ResourceFieldSelector, "
        "3 configMapKeyRef* KeySelector, 4 secretKeyRef* KeySelector",
        "ObjectFieldSelector": "1 apiVersion str, 2 fieldPath str",
        "ResourceFieldSelector": "1 containerName str, 2 resource str, 3 divisor amount",
        "KeySelector": "1 + LocalObjectReference, 2 key str, 3 optional* bool",
        "EnvFromSource": "1 prefix str, 2 configMapRef* EnvSource, 3 secretRef* EnvSource",
        "EnvSource": "1 + LocalObjectReference, 2 optional* bool",
        "ResourceRequirements": "1 limits amounts, 2 requests amounts",
        "VolumeMount": "1 name str, 2 readOnly bool, 3 mountPath str, 4 subPath str, "
        "5 mountPropagation* str, 6 subPathExpr str, 7 recursiveReadOnly* str",
        "Probe": "1 + Handler, 2 initialDelaySeconds int, 3 timeoutSeconds int, 4 periodSeconds int, "
        "5 successThreshold int, 6 failureThreshold int, 7 terminationGracePeriodSeconds* int",
        "Lifecycle": "1 postStart* LifecycleHandler, 2 preStop* LifecycleHandler",
        "Handler": "1 exec* ExecAction, 2 httpGet* HTTPGetAction, 3 tcpSocket* TCPSocketAction, "
        "4 grpc* GRPCAction",
        "LifecycleHandler": "1 exec* ExecAction, 2 httpGet* HTTPGetAction, 3 tcpSocket* TCPSocketAction, "
        "4 sleep* SleepAction",
        "ExecAction": "1 command[] str",
        "HTTPGetAction": "1 path str, 2 port intorstr, 3 host str, 4 scheme str, 5 httpHeaders[] HTTPHeader",
        "HTTPHeader": "1 name str, 2 value str",
        "TCPSocketAction": "1 port intorstr, 2 host str",
        "GRPCAction": "1 port int, 2 service* str",
        "SleepAction": "1 seconds int",
        "Volume": "1 name str, 2 + VolumeSource",
        "VolumeSource": "1 hostPath* HostPathVolumeSource, 2 emptyDir* EmptyDirVolumeSource, "
        "6 secret* SecretVolumeSource, 16 downwardAPI* DownwardAPIVolumeSource, "
        "19 configMap* ConfigMapVolumeSource, 26 projected* ProjectedVolumeSource",
        "HostPathVolumeSource": "1 path str, 2 type* str",
        "EmptyDirVolumeSource": "1 medium str, 2 sizeLimit* amount",
        "SecretVolumeSource": "1 secretName str, 2 items[] KeyToPath, 3 defaultMode* int, 4 optional* bool",
        "ConfigMapVolumeSource": "1 + LocalObjectReference, 2 items[] KeyToPath, 3 defaultMode* int, "
        "4 optional* bool",
        "KeyToPath": "1 key str, 2 path str, 3 mode* int",
        "DownwardAPIVolumeSource": "1 items[] DownwardAPIVolumeFile, 2 defaultMode* int",
        "DownwardAPIVolumeFile": "1 path str, 2 fieldRef* ObjectFieldSelector, "
        "3 resourceFieldRef* ResourceFieldSelector, 4 mode* int",
        "ProjectedVolumeSource": "1 sources[] VolumeProjection, 2 defaultMode* int",
        "VolumeProjection": "1 secret* KeysProjection, 2 downwardAPI* DownwardAPIProjection, "
        "3 configMap* KeysProjection, 4 serviceAccountToken* ServiceAccountTokenProjection",
        "KeysProjection": "1 + LocalObjectReference, 2 items[] KeyToPath, 4 optional* bool",
        "DownwardAPIProjection": "1 items[] DownwardAPIVolumeFile",
        "ServiceAccountTokenProjection": "1 audience str, 2 expirationSeconds* int, 3 path str",
        "Quantity": "1 string str",
        "IntOrString": "1 type int, 2 intVal int, 3 strVal str",
        "AmountEntry": "1 key str, 2 value amount",
        "Timestamp": "1 seconds int, 2 nanos int",
        "Entry": "1 key str, 2 value str",
        "BytesEntry": "1 key str, 2 value bytes",
    }.items()
}
