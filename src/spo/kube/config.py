"""Where the API server is and who we are: KUBECONFIG, the pod's service account, or ``~/.kube/config``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import yaml
from lightkube.config.kubeconfig import PROXY_CONF, KubeConfig, SingleConfig
from lightkube.config.models import Cluster, User
from lightkube.core.exceptions import ConfigError

from spo.kube.errors import KubeConfigError

SERVICE_ACCOUNT_DIR: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where a pod finds its token and the cluster's CA."""


def load_config(env: Mapping[str, str], service_account_dir: str = SERVICE_ACCOUNT_DIR) -> SingleConfig:
    """Find the API server.

    Order: the file named by ``KUBECONFIG`` (as kubectl does), the service account of the pod,
    ``$HOME/.kube/config``.

    Raises:
        KubeConfigError: none of them is usable; the message says why.
    """
    try:
        if env.get("KUBECONFIG"):
            return _from_file(Path(env["KUBECONFIG"]))
        if env.get("KUBERNETES_SERVICE_HOST"):
            return _from_service_account(env, Path(service_account_dir))
        return _from_file(Path(env.get("HOME") or "/") / ".kube/config")
    except (ConfigError, OSError, KeyError, ValueError, yaml.YAMLError, msgspec.MsgspecError) as error:
        raise KubeConfigError(f"cannot load the Kubernetes configuration: {error}") from error


def server_config(url: str, token: str | None = None) -> SingleConfig:
    """A configuration for a server at ``url``, optionally with a bearer token; for tests and tools."""
    config = KubeConfig.from_one(cluster=Cluster(server=url), user=User(token=token))
    return _complete(config.get())


def _from_file(path: Path) -> SingleConfig:
    return _complete(KubeConfig.from_file(path).get(default=PROXY_CONF))


def _from_service_account(env: Mapping[str, str], directory: Path) -> SingleConfig:
    host = env["KUBERNETES_SERVICE_HOST"]
    port = env.get("KUBERNETES_SERVICE_PORT") or "443"
    if not (directory / "token").is_file():
        raise KubeConfigError(f"no service account token in {directory}; is a token volume mounted?")
    config = KubeConfig.from_one(
        cluster=Cluster(
            server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            certificate_auth=str(directory / "ca.crt"),
        ),
        # A file, not its content: lightkube reads it again when the API server answers 401.
        user=User(token_file=str(directory / "token")),
    )
    return _complete(config.get())


def _complete(config: SingleConfig | None) -> SingleConfig:
    if config is None:
        raise KubeConfigError("the kubeconfig names no current context")
    return config if config.user else config._replace(user=User())
