"""The part of the demo about workloads: bind profiles to pods, record pods, run them again."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from demo_shell import DemoError, DemoShell
from dev_image import inspect

NAMESPACE = "demo-workloads"
STAND_INS = {
    "nginx": "docker.io/library/nginx:1.19.1",
    "redis": "docker.io/library/redis:6.2.1",
    "alpine": "docker.io/library/alpine:latest",
}
"""No image is pulled here: the local busybox image gets these names while the demo runs."""

BINDING = """\
apiVersion: v1
kind: Namespace
metadata:
  name: demo-workloads
---
apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata:
  namespace: demo-workloads
  name: profile-block
spec:
  defaultAction: SCMP_ACT_ALLOW
  syscalls:
    - action: SCMP_ACT_ERRNO
      names: [mkdir, mkdirat]
---
apiVersion: security-profiles-operator.x-k8s.io/v1alpha1
kind: ProfileBinding
metadata:
  namespace: demo-workloads
  name: nginx-binding
spec:
  profileRef:
    kind: SeccompProfile
    name: profile-block
  image: nginx:1.19.1
"""
BOUND_POD = """\
apiVersion: v1
kind: Pod
metadata:
  namespace: demo-workloads
  name: bound-pod
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: nginx
      image: nginx:1.19.1
      command: [sh, -c, "mkdir /tmp/x; grep Seccomp: /proc/self/status; sleep 3600"]
"""
RECORDING = """\
apiVersion: security-profiles-operator.x-k8s.io/v1alpha1
kind: ProfileRecording
metadata:
  namespace: demo-workloads
  name: {name}
spec:
  kind: SeccompProfile
  recorder: bpf
  podSelector:
    matchLabels:
      app: {app}
"""
TWO_CONTAINERS = """\
apiVersion: v1
kind: Pod
metadata:
  namespace: demo-workloads
  name: two-pod
  labels:
    app: two
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: nginx
      image: nginx:1.19.1
      command: [sh, -c, "trap exit TERM; mkdir /tmp/x; while :; do sleep 0.2; done"]
    - name: redis
      image: redis:6.2.1
      command: [sh, -c, "trap exit TERM; ln -s /a /tmp/b; while :; do sleep 0.2; done"]
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  namespace: demo-workloads
  name: my-deployment
spec:
  replicas: 3
  selector:
    matchLabels:
      app: my-app
  template:
    metadata:
      labels:
        app: my-app
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: nginx
          image: nginx:1.19.1
          command: [sh, -c, "trap exit TERM; while :; do sleep 0.2; done"]
"""
AGAIN = """\
apiVersion: v1
kind: Pod
metadata:
  namespace: demo-workloads
  name: again
spec:
  restartPolicy: Never
  containers:
    - name: nginx
      image: nginx:1.19.1
      command: [sh, -c, "mkdir /tmp/x && echo the recorded call works; ln -s /a /tmp/b"]
      securityContext:
        seccompProfile:
          type: Localhost
          localhostProfile: operator/demo-workloads/two-recording-nginx.json
"""
OPERATOR = "--namespace security-profiles-operator"
HERE = f"--namespace {NAMESPACE}"


def show_workloads(demo: DemoShell, image: str) -> None:
    """Bind, record, run again; ``image`` stands in for those of the document.

    Raises:
        DemoError: something did not go as shown.
    """
    with standing_in(image):
        _bind(demo)
        _enable_recorder(demo)
        _record_interactively(demo)
        _record_two_containers(demo)
        _record_replicas(demo)
        demo.shell(f"kubectl delete namespace {NAMESPACE}")


@contextmanager
def standing_in(image: str) -> Iterator[None]:
    """Give an image the names of the document's, while it lasts."""
    replaced = {name: inspect(name, "{{.Id}}") for name in STAND_INS.values()}
    for name in replaced:
        subprocess.run(("podman", "tag", image, name), check=True)
    try:
        yield
    finally:
        for name, previous in replaced.items():
            # With the image: without it Podman takes away every name that this image has.
            subprocess.run(("podman", "untag", image, name), check=False, capture_output=True)
            if previous:
                subprocess.run(("podman", "tag", previous, name), check=False, capture_output=True)


def _bind(demo: DemoShell) -> None:
    demo.say("Bind a profile to an image: pods need not name it (nginx here is busybox under that name)")
    demo.shell("kubectl apply -f -", stdin=BINDING)
    demo.shell(f"kubectl {HERE} wait --for=condition=ready seccompprofile/profile-block")
    demo.shell(f"kubectl {HERE} wait --for=condition=ready profilebinding/nginx-binding")
    demo.shell("kubectl apply -f -", stdin=BOUND_POD)
    demo.shell(f"kubectl {HERE} wait --for=condition=ready pod/bound-pod --timeout=30s")
    shown = demo.shell(
        f"kubectl {HERE} get pod bound-pod "
        "-o jsonpath='{.spec.containers[*].securityContext.seccompProfile}'; echo"
    )
    demo.expect(f"operator/{NAMESPACE}/profile-block.json", shown)
    demo.wait_until(f"kubectl {HERE} logs bound-pod", "Seccomp:")
    demo.expect("Operation not permitted", demo.shell(f"kubectl {HERE} logs bound-pod"))
    demo.shell(f"kubectl {HERE} delete pod/bound-pod profilebinding/nginx-binding")


def _enable_recorder(demo: DemoShell) -> None:
    demo.say("Switch the eBPF recorder on")
    patch = '--type=merge -p \'{"spec":{"enableBpfRecorder":true}}\''
    demo.shell(f"kubectl {OPERATOR} patch spod spod {patch}")
    demo.shell(f"kubectl {OPERATOR} wait --for=condition=ready spod/spod --timeout=60s")
    log = f"kubectl {OPERATOR} logs ds/spod -c bpf-recorder"
    demo.wait_until(log, "self-test")
    demo.shell(log)


def _record_interactively(demo: DemoShell) -> None:
    demo.say("Record what is typed in a pod")
    demo.shell("kubectl apply -f -", stdin=RECORDING.format(name="test-recording", app="alpine"))
    demo.shell(f"kubectl {HERE} wait --for=condition=ready profilerecording/test-recording")
    # A shell as first process does not heed SIGTERM: the pod would end only with its grace period.
    overrides = '--overrides=\'{"spec":{"terminationGracePeriodSeconds":1}}\''
    run = f"kubectl {HERE} run --rm -it my-pod --image=alpine --labels app=alpine {overrides} -- sh"
    demo.terminal(run, "mkdir test", "exit")
    get = f"kubectl {HERE} get seccompprofiles"
    demo.wait_until(get, "test-recording-my-pod")
    demo.shell(f"kubectl {HERE} wait --for=condition=ready seccompprofile/test-recording-my-pod")
    names = (
        f"kubectl {HERE} get seccompprofile test-recording-my-pod -o jsonpath='{{.spec.syscalls[0].names}}'"
    )
    demo.expect('"mkdir"', demo.shell(f"{names}; echo"))
    demo.shell(f"kubectl {HERE} delete profilerecording test-recording")


def _record_two_containers(demo: DemoShell) -> None:
    demo.say("Record two containers of one pod: each gets its own profile")
    demo.shell("kubectl apply -f -", stdin=RECORDING.format(name="two-recording", app="two"))
    demo.shell(f"kubectl {HERE} wait --for=condition=ready profilerecording/two-recording")
    demo.shell("kubectl apply -f -", stdin=TWO_CONTAINERS)
    demo.shell(f"kubectl {HERE} wait --for=condition=ready pod/two-pod --timeout=30s")
    demo.shell(f"kubectl {HERE} delete pod two-pod")
    for name in ("two-recording-nginx", "two-recording-redis"):
        demo.wait_until(f"kubectl {HERE} get seccompprofiles", name)
        demo.shell(f"kubectl {HERE} wait --for=condition=ready seccompprofile/{name}")
    demo.shell(f"kubectl {HERE} get seccompprofiles --output wide")
    shown = demo.shell(f"kubectl {HERE} get events --field-selector involvedObject.name=two-recording-nginx")
    demo.expect("SeccompProfileCreated", shown)
    demo.say("Run it again under its recorded profile: what was recorded works, anything else is refused")
    demo.shell("kubectl apply -f -", stdin=AGAIN)
    log = f"kubectl {HERE} logs again"
    demo.wait_until(log, "Operation not permitted")
    demo.expect("the recorded call works", demo.shell(log))


def _record_replicas(demo: DemoShell) -> None:
    demo.say("Record the replicas of a Deployment: one profile each")
    demo.shell("kubectl apply -f -", stdin=RECORDING.format(name="recording", app="my-app"))
    demo.shell(f"kubectl {HERE} wait --for=condition=ready profilerecording/recording")
    demo.shell("kubectl apply -f -", stdin=DEPLOYMENT)
    demo.shell(f"kubectl {HERE} rollout status deployment/my-deployment --timeout=60s")
    demo.shell(f"kubectl {HERE} delete deployment my-deployment")
    for number in range(3):
        demo.wait_until(f"kubectl {HERE} get seccompprofiles", f"recording-nginx-{number}")
    shown = demo.shell(f"kubectl {HERE} get sp -o wide")
    if shown.count(" recording-nginx-") + shown.count("\nrecording-nginx-") < 3:
        raise DemoError(f"three profiles expected: {shown}")


__all__ = ["show_workloads", "standing_in"]
