"""The software bill of materials of the operator's image: CycloneDX, from dpkg and pip.

It names every Debian package and every Python package with version, checksum and licence where the
package tells it. No serial number and no time is in it: the same image has the same bill.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

FILE: Final = "usr/share/sbom/security-profiles-operator.cdx.json"
"""In the image."""


def bill(
    *, name: str, version: str, license_id: str, architecture: str, components: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The whole document.

    Args:
        name: of the image.
        version: of the project.
        license_id: SPDX identifier of the project's licence.
        architecture: Debian's name, such as ``amd64``.
        components: made by :func:`debian_component` and :func:`python_component`.
    """
    subject = {
        "type": "container",
        "bom-ref": name,
        "name": name,
        "version": version,
        "licenses": [{"license": {"id": license_id}}],
        "properties": [{"name": "architecture", "value": architecture}],
    }
    listed = sorted((dict(item) for item in components), key=lambda item: str(item["bom-ref"]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": subject},
        "components": listed,
        "dependencies": [
            {"ref": name, "dependsOn": [item["bom-ref"] for item in listed]},
            *({"ref": item["bom-ref"]} for item in listed),
        ],
    }


def debian_component(control: Mapping[str, str], *, release: str, sha256: str) -> dict[str, Any]:
    """A Debian package.

    Args:
        control: its control fields.
        release: code name of the Debian release.
        sha256: of the package file.
    """
    name, version = control["Package"], control["Version"]
    # "source (version)" where the version of the source is another one.
    source = control.get("Source", name).partition(" ")[0]
    where = f"arch={control['Architecture']}&distro=debian-{release}"
    return {
        "type": "library",
        "bom-ref": f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?{where}",
        "name": name,
        "version": version,
        "purl": f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?{where}",
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        # Debian tells licences as text: in the image's /usr/share/doc/NAME/copyright.
        "properties": [{"name": "debian:source", "value": source}],
    }


def python_component(
    *, name: str, version: str, spdx: str, license_words: str, sha256: str
) -> dict[str, Any]:
    """A Python package.

    Args:
        name: as its metadata spells it.
        version: as its metadata spells it.
        spdx: expression of the licence; may be empty.
        license_words: used if there is no expression; may be empty.
        sha256: of its wheel; empty if it came from none that others could compare.
    """
    purl = f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version, safe='')}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
    }
    if spdx:
        component["licenses"] = [{"expression": spdx}]
    elif license_words:
        component["licenses"] = [{"license": {"name": license_words}}]
    if sha256:
        component["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    return component
