"""Write deploy/*.yaml from the overlays with kustomize; with --check compare only, exit 1 if files differ."""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
KUBECTL = ROOT / ".venv/bin/kubectl"
FILES = {
    "operator.yaml": "cluster",
    "namespace-operator.yaml": "namespaced",
}
"""File -> overlay."""


def rendered(overlay: str) -> str:
    """What kubectl makes of an overlay.

    Raises:
        subprocess.CalledProcessError: a file is wrong; kubectl has said which.
    """
    command = (str(KUBECTL), "kustomize", str(DEPLOY / "overlays" / overlay))
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def manifests() -> dict[str, str]:
    """File name -> text."""
    header = "# Generated from deploy/overlays/{} by `make generate`; change the files there.\n"
    return {file: header.format(overlay) + rendered(overlay) for file, overlay in FILES.items()}


def stale(folder: Path) -> list[str]:
    """Names of files that are missing or differ."""
    return [
        name
        for name, text in manifests().items()
        if not (folder / name).is_file() or (folder / name).read_text() != text
    ]


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if files differ")
    parser.add_argument("--output", type=Path, default=DEPLOY, help="folder of the files")
    options = parser.parse_args()
    if not options.check:
        options.output.mkdir(parents=True, exist_ok=True)
        for name, text in manifests().items():
            (options.output / name).write_text(text)
        return 0
    found = stale(options.output)
    for name in found:
        print(f"{name} differs from its overlay; run `make generate`", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
