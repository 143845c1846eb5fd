"""Show a seccomp profile from ``kubectl apply`` to a refused system call, then clean up.

Every line that begins with ``$`` is run as printed; each result is checked, so the demo fails when
the product does.
"""

import json
import os
import sys
from pathlib import Path

from demo_logs import show_log_enricher
from demo_metrics import show_metrics
from demo_recording import show_recording
from demo_shell import DemoError, DemoShell
from demo_workloads import show_workloads
from devcluster import KUBECTL, ROOT, ClusterError, DevCluster

NAMESPACE = "my-namespace"
IMAGE = "localhost/busybox:dev"
LOCALHOST_PROFILE = f"operator/{NAMESPACE}/profile1.json"

PROFILE = f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
---
apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata:
  namespace: {NAMESPACE}
  name: profile1
spec:
  defaultAction: SCMP_ACT_LOG
"""
BAD_PROFILE = PROFILE.replace("profile1", "profile2").replace("SCMP_ACT_LOG", "SCMP_ACT_PERMIT")
REFUSE_MKDIR = '{"spec":{"syscalls":[{"action":"SCMP_ACT_ERRNO","names":["mkdir","mkdirat"]}]}}'
TRY_MKDIR = "mkdir /tmp/forbidden; grep Seccomp: /proc/self/status; sleep 3600"
POD = """\
apiVersion: v1
kind: Pod
metadata:
  namespace: {namespace}
  name: {name}
{annotations}spec:
  terminationGracePeriodSeconds: 1
{security}  containers:
    - name: test-container
      image: {image}
      command: [sh, -c, "{script}"]
"""
SECCOMP_PROFILE = {"type": "Localhost", "localhostProfile": LOCALHOST_PROFILE}
SECURITY_CONTEXT = f"""\
  securityContext:
    seccompProfile:
      type: Localhost
      localhostProfile: {LOCALHOST_PROFILE}
"""
ANNOTATIONS = f"""\
  annotations:
    seccomp.security.alpha.kubernetes.io/pod: "localhost/{LOCALHOST_PROFILE}"
"""
DEPLOYMENT = f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  namespace: {NAMESPACE}
  name: myapp
spec:
  selector:
    matchLabels:
      app: myapp
  template:
    metadata:
      labels:
        app: myapp
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: test-container
          image: {IMAGE}
          command: [sh, -c, "{TRY_MKDIR}"]
"""


def pod(name: str, *, annotations: str = "", security: str = "") -> str:
    """Manifest of a pod that tries to make a directory."""
    return POD.format(
        namespace=NAMESPACE,
        name=name,
        annotations=annotations,
        security=security,
        image=IMAGE,
        script=TRY_MKDIR,
    )


class Demo(DemoShell):
    """The steps with a cluster."""

    def __init__(self, cluster: DevCluster) -> None:
        """Commands get the cluster's KUBECONFIG, and kubectl."""
        self._cluster = cluster
        path = f"{KUBECTL.parent}:{os.environ.get('PATH', '')}"
        super().__init__({**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PATH": path})

    def create_profile(self) -> Path:
        """Apply, wait, look at the object and the file."""
        file = self._cluster.seccomp_root / LOCALHOST_PROFILE
        self.say("Create a profile; the daemon puts it on the node")
        self.shell("kubectl apply -f -", stdin=PROFILE)
        self.shell(f"kubectl --namespace {NAMESPACE} wait --for=condition=ready seccompprofile/profile1")
        get = f"kubectl --namespace {NAMESPACE} get seccompprofile profile1 --output wide"
        self.expect(LOCALHOST_PROFILE, self.shell(get))
        self.expect("644", self.shell(f"stat --format '%a %u %n' {file}; cat {file}; echo"))
        if json.loads(file.read_text()) != {"defaultAction": "SCMP_ACT_LOG"}:
            raise DemoError(f"{file} is not what the spec says")
        self.say("Bad input is refused at once, with the field")
        self.expect("spec.defaultAction", self.shell("kubectl apply -f -", stdin=BAD_PROFILE, fails=True))
        self.say("Change the profile: the file follows")
        self.shell(
            f"kubectl --namespace {NAMESPACE} patch seccompprofile profile1 --type=merge -p '{REFUSE_MKDIR}'"
        )
        self.wait_until(f"cat {file}", "mkdirat")
        self.shell(f"jq . {file}")
        return file

    def run_pods(self) -> None:
        """One pod by security context, one by annotation; the system call is refused in both."""
        self.say("Run a pod under the profile: by securityContext, and by the annotation of older clusters")
        self.shell("kubectl apply -f -", stdin=pod("test-pod", security=SECURITY_CONTEXT))
        self.shell("kubectl apply -f -", stdin=pod("annotated-pod", annotations=ANNOTATIONS))
        self.shell(
            f"kubectl --namespace {NAMESPACE} wait --for=condition=ready pod/test-pod pod/annotated-pod"
        )
        self.say("Seccomp: 2 is filter mode; mkdir is refused")
        for name in ("test-pod", "annotated-pod"):
            log = f"kubectl --namespace {NAMESPACE} logs {name}"
            self.wait_until(log, "Seccomp:")
            output = self.shell(log)
            self.expect("Operation not permitted", output)
            self.expect("Seccomp:\t2", output)
        self.say("The profile knows its pods")
        users = (
            f"kubectl --namespace {NAMESPACE} get seccompprofile profile1 "
            "--output=jsonpath='{.status.activeWorkloads}'; echo"
        )
        self.wait_until(users, "annotated-pod")
        self.shell(users)

    def patch_deployment(self) -> None:
        """The documented patch with the path from the status."""
        self.say("Put the profile into a Deployment, with the path taken from the profile's status")
        rolled = f"kubectl --namespace {NAMESPACE} rollout status deployment/myapp --timeout=30s"
        self.shell("kubectl apply -f -", stdin=DEPLOYMENT)
        self.shell(rolled)
        path = (
            f"$(kubectl --namespace {NAMESPACE} get seccompprofile profile1 "
            "--output=jsonpath='{.status.seccompProfile\\.localhostProfile}')"
        )
        patch = (
            '{"spec": {"template": {"spec": {"securityContext": {"seccompProfile": '
            f'{{"type": "Localhost", "localhostProfile": "\'{path}\'"}}}}}}}}}}}}'
        )
        self.shell(f"kubectl --namespace {NAMESPACE} patch deployment myapp --patch '{patch}'")
        self.shell(rolled)
        shown = self.shell(
            f"kubectl --namespace {NAMESPACE} get deployment myapp "
            "--output=jsonpath='{.spec.template.spec.securityContext}' | jq ."
        )
        self.expect(LOCALHOST_PROFILE, shown)
        log = f"kubectl --namespace {NAMESPACE} logs deployment/myapp"
        self.wait_until(log, "Seccomp:\t2")
        self.shell(log)

    def run_interactively(self) -> None:
        """A shell in a pod of its own, typed at a terminal; the pod goes with the shell."""
        self.say("Type in a pod that runs under the profile: kubectl run --rm -it")
        # A shell as first process does not heed SIGTERM: the pod would end only with its grace period.
        security = {"seccompProfile": SECCOMP_PROFILE}
        spec = {"spec": {"terminationGracePeriodSeconds": 1, "securityContext": security}}
        run = (
            f"kubectl --namespace {NAMESPACE} run --rm -it my-pod --image={IMAGE} "
            f"--overrides='{json.dumps(spec)}' -- sh"
        )
        shown = self.terminal(run, "mkdir test", "exit")
        self.expect("mkdir: can't create directory 'test': Operation not permitted", shown)
        self.expect('pod "my-pod" deleted', shown)
        self.shell(f"kubectl --namespace {NAMESPACE} wait --for=delete pod/my-pod --timeout=20s")

    def delete_in_use(self, file: Path) -> None:
        """A profile in use stays; it goes with the last pod."""
        self.say("Delete the profile while pods use it: it stays")
        get = f"kubectl --namespace {NAMESPACE} get seccompprofile profile1"
        self.shell(f"kubectl --namespace {NAMESPACE} delete seccompprofile profile1 --wait=false")
        self.wait_until(get, "Terminating")
        self.expect("Terminating", self.shell(get))
        self.shell(f"ls {file}")
        self.say("Delete the workloads: the profile and its file go")
        self.shell(f"kubectl --namespace {NAMESPACE} delete deployment/myapp pod/test-pod pod/annotated-pod")
        self.shell(f"kubectl --namespace {NAMESPACE} wait --for=delete seccompprofile/profile1 --timeout=20s")
        self.shell(f"ls {file}", fails=True)

    def run(self) -> None:
        """All steps."""
        file = self.create_profile()
        self.run_pods()
        self.patch_deployment()
        self.run_interactively()
        self.delete_in_use(file)
        show_workloads(self, IMAGE)
        show_metrics(self)
        show_log_enricher(self, IMAGE)


def main() -> None:
    """Start, show, stop."""
    cluster = DevCluster(state=ROOT / ".run/onenode")
    if cluster.is_running():
        sys.exit("the cluster of `make up` is running, and the demo would end it: `make down` first")
    failure = ""
    try:
        show_recording()
        print("\n# Start onenode (the one-machine API) and the operator", flush=True)
        cluster.up()
        demo = Demo(cluster)
        demo.shell("kubectl get nodes,pods --all-namespaces")
        demo.run()
    except (ClusterError, DemoError) as error:
        failure = str(error)
    finally:
        print("\n# Stop everything", flush=True)
        try:
            cluster.down()
        except ClusterError as error:
            failure = f"{failure}\n{error}".strip()
    if failure:
        sys.exit(f"demo failed: {failure}")
    print(
        "\nDone; nothing is left running. To go on by hand: `make up` (prints KUBECONFIG), then `make down`."
    )


if __name__ == "__main__":
    main()
