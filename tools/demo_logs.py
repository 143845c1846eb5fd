"""The part of the demo about the log enricher: lines of an audited pod, and the same as a metric."""

from demo_metrics import CURL, TOKEN, URL
from demo_shell import DemoShell
from demo_workloads import standing_in

OPERATOR = "--namespace security-profiles-operator"
PROFILE = """\
apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata:
  name: log
  namespace: default
spec:
  defaultAction: SCMP_ACT_LOG
"""
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: log-pod
  namespace: default
spec:
  terminationGracePeriodSeconds: 1
  securityContext:
    seccompProfile:
      type: Localhost
      localhostProfile: operator/default/log.json
  containers:
    - name: log-container
      image: nginx:1.19.1
      command: [sh, -c, "trap exit TERM; mkdir /tmp/x; while :; do sleep 0.2; done"]
"""
COUNTER = "security_profiles_operator_seccomp_profile_audit_total"


def show_log_enricher(demo: DemoShell, image: str) -> None:
    """Enable it, audit a pod, read its lines and its counter; ``image`` stands in for nginx.

    Raises:
        DemoError: something did not go as shown.
    """
    with standing_in(image):
        demo.say("Switch the log enricher on")
        patch = '--type=merge -p \'{"spec":{"enableLogEnricher":true}}\''
        demo.shell(f"kubectl {OPERATOR} patch spod spod {patch}")
        lines = f"kubectl {OPERATOR} logs ds/spod log-enricher"
        demo.wait_until(lines, "Connected to the daemon")
        demo.say("Audit a pod: its profile allows and logs everything (nginx is busybox here)")
        demo.shell("kubectl apply -f -", stdin=PROFILE)
        demo.shell("kubectl wait --for=condition=ready seccompprofile/log")
        demo.shell("kubectl apply -f -", stdin=POD)
        demo.shell("kubectl wait --for=condition=ready pod/log-pod --timeout=30s")
        shown = f'{lines} | grep \'"pod"="log-pod"\' | grep \'"syscallName"="mkdir"\''
        demo.wait_until(shown, "mkdir")
        demo.expect('"container"="log-container"', demo.shell(shown))
        demo.say("The same is counted")
        counted = f'{CURL} -H "Authorization: Bearer $({TOKEN})" {URL} | grep {COUNTER} | grep mkdir'
        demo.wait_until(counted, "log-pod")
        demo.expect('syscall="mkdir"', demo.shell(counted))
        demo.shell("kubectl delete pod/log-pod seccompprofile/log --wait=false")
