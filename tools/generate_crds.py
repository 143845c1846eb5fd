"""Write deploy/crds from the structs of spo.api; with --check compare only, exit 1 if files differ."""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from spo.api.crds import custom_resource_definitions

CRDS = Path(__file__).parents[1] / "deploy/crds"
HEADER = "# Generated from spo.api by `make generate`; change the structs there.\n"


class _PlainDumper(yaml.SafeDumper):
    """Repeats equal values instead of pointing from one to the other."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def crd_files() -> dict[str, str]:
    """File name -> text, for every kind."""
    return {
        f"{crd['spec']['names']['plural']}.yaml": HEADER
        + yaml.dump(crd, Dumper=_PlainDumper, sort_keys=False, width=110, allow_unicode=True)
        for crd in custom_resource_definitions()
    }


def differences(folder: Path) -> list[str]:
    """Names of files that are missing, differ, or should not be there."""
    wanted = crd_files()
    present = {path.name: path.read_text() for path in folder.glob("*.yaml")}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def write(folder: Path) -> None:
    """Make the folder hold exactly the generated files."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = crd_files()
    for path in folder.glob("*.yaml"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if files differ")
    parser.add_argument("--output", type=Path, default=CRDS, help="folder of the files")
    options = parser.parse_args()
    if not options.check:
        write(options.output)
        return 0
    stale = differences(options.output)
    for name in stale:
        print(f"{name} differs from spo.api; run `make generate`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
