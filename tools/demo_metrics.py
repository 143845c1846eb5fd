"""The part of the demo about metrics: read them as an account that may, and as nobody."""

from demo_shell import DemoShell

HERE = "--namespace security-profiles-operator"
CA = f"kubectl {HERE} get secret metrics-server-cert --output=jsonpath='{{.data.ca\\.crt}}' | base64 -d"
ADDRESS = (
    f"kubectl {HERE} get endpoints metrics "
    "--output=jsonpath='{.subsets[0].addresses[0].ip}:{.subsets[0].ports[0].port}'"
)
# onenode has no DNS and no addresses of Services; the certificate is for the Service's name all the same.
CURL = f"curl -sS --cacert <({CA}) --connect-to metrics.security-profiles-operator:443:$({ADDRESS})"
URL = "https://metrics.security-profiles-operator/metrics-spod"
TOKEN = f"kubectl {HERE} create token default"
COUNTER = "security_profiles_operator_seccomp_profile_total"


def show_metrics(demo: DemoShell) -> None:
    """The counters of the profiles, with a token and without one."""
    demo.say("Read the metrics: HTTPS with a certificate of the operator's CA, and a token")
    demo.shell(f"kubectl {HERE} get service metrics")
    read = f'{CURL} -H "Authorization: Bearer $({TOKEN})" {URL} | grep {COUNTER}'
    demo.wait_until(read, COUNTER)
    demo.expect('{operation="update"}', demo.shell(read))
    demo.expect("401", demo.shell(f"{CURL} -o /dev/null -w '%{{http_code}}\\n' {URL}"))
