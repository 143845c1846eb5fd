from pathlib import PurePosixPath

import pytest

from spo.settings import (
    DaemonSettings,
    EnablerSettings,
    InvalidSettingError,
    ManagerSettings,
    MissingSettingError,
)

DAEMON = {"NODE_NAME": "node-1", "OPERATOR_NAMESPACE": "spo"}


def test_daemon_settings_come_from_the_environment() -> None:
    settings = DaemonSettings.from_env({**DAEMON, "SPO_HOST_ROOT": "/host"})
    assert (settings.node_name, settings.operator_namespace) == ("node-1", "spo")
    assert settings.host_root == PurePosixPath("/host")
    assert settings.namespaces == ()


@pytest.mark.parametrize("variable", DAEMON)
def test_missing_variable_is_named(variable: str) -> None:
    with pytest.raises(MissingSettingError, match=f"^{variable} environment variable not set$"):
        DaemonSettings.from_env({**DAEMON, variable: ""})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ("", 8085)),
        (":0", ("", 0)),
        ("127.0.0.1:18085", ("127.0.0.1", 18085)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_address_of_the_health_endpoint(value: str, expected: tuple[str, int]) -> None:
    settings = DaemonSettings.from_env({**DAEMON, "SPO_HEALTH_ADDRESS": value})
    assert (settings.health_host, settings.health_port) == expected


@pytest.mark.parametrize("value", ["8085", "host:", ":65536", ":-1", "host:http", ":1\n"])
def test_address_that_is_none_is_named(value: str) -> None:
    with pytest.raises(
        InvalidSettingError, match=r"^SPO_HEALTH_ADDRESS environment variable: .* is not <address>:<port>"
    ):
        DaemonSettings.from_env({**DAEMON, "SPO_HEALTH_ADDRESS": value})


def test_daemon_reads_the_settings_object_it_is_told() -> None:
    assert DaemonSettings.from_env(DAEMON).spod_name == "spod"
    assert DaemonSettings.from_env({**DAEMON, "SPOD_NAME": "other"}).spod_name == "other"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("", (), id="all-namespaces"),
        pytest.param("a", ("a", "spo"), id="operator-namespace-is-added"),
        pytest.param(" a , b,,", ("a", "b", "spo"), id="blanks-and-empty-parts"),
        pytest.param("spo-2,spo", ("spo-2", "spo"), id="compared-as-a-whole"),
    ],
)
def test_restriction_to_namespaces_includes_the_operator(value: str, expected: tuple[str, ...]) -> None:
    env = {**DAEMON, "RESTRICT_TO_NAMESPACE": value}
    assert DaemonSettings.from_env(env).namespaces == expected
    assert ManagerSettings.from_env(env).namespaces == expected


@pytest.mark.parametrize(
    ("env", "identity"),
    [
        pytest.param({"POD_NAME": "p", "HOSTNAME": "h"}, "p", id="pod-name"),
        pytest.param({"HOSTNAME": "h"}, "h", id="host-name"),
        pytest.param({}, "manager", id="neither"),
    ],
)
def test_manager_identity(env: dict[str, str], identity: str) -> None:
    assert ManagerSettings.from_env({"OPERATOR_NAMESPACE": "spo", **env}).identity == identity


def test_enabler_works_on_the_root_by_default() -> None:
    assert EnablerSettings.from_env({}).host_root == PurePosixPath("/")


def test_manager_is_told_where_its_daemons_run() -> None:
    env = {
        "OPERATOR_NAMESPACE": "spo",
        "SPO_SPOD_HOST_NETWORK": "true",
        "SPO_SPOD_HEALTH_ADDRESS": "127.0.0.1:18085",
        "SPO_SPOD_HOST_ROOT": "/var/tmp/node",
        "DEFAULT_ENABLE_SELINUX": "True",
        "RELATED_IMAGE_SELINUXD": "selinuxd:1",
    }
    settings = ManagerSettings.from_env(env)
    assert (settings.spod_health_host, settings.spod_health_port) == ("127.0.0.1", 18085)
    assert settings.spod_host_root == PurePosixPath("/var/tmp/node")
    assert settings.spod_host_network
    assert settings.default_enable_selinux
    assert settings.selinuxd_image == "selinuxd:1"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SPO_SPOD_HOST_NETWORK", "yes"),
        ("DEFAULT_ENABLE_SELINUX", "1"),
        ("SPO_SPOD_HOST_ROOT", "node"),
        ("SPO_SPOD_HOST_ROOT", "/a/../b"),
        ("SPO_SPOD_HEALTH_ADDRESS", "here"),
    ],
)
def test_setting_of_the_daemons_that_cannot_be_meant_is_named(variable: str, value: str) -> None:
    with pytest.raises(InvalidSettingError, match=f"^{variable} environment variable: "):
        ManagerSettings.from_env({"OPERATOR_NAMESPACE": "spo", variable: value})
