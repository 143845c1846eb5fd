"""Compare the manifests with the types of a Kubernetes version: unknown fields, wrong types, missing values.

The types are those of the installed lightkube-models, or of another version of it that ``--models`` names:
a folder into which its wheel was unpacked (``pip download --no-deps 'lightkube-models==1.29.*'``).
"""

import argparse
import copy
import sys
from pathlib import Path
from typing import Any

import lightkube.models
import yaml

ROOT = Path(__file__).resolve().parent.parent
FILES = ("operator.yaml", "namespace-operator.yaml")


def problems(objects: list[dict[str, Any]]) -> list[str]:
    """What a server with these types would say about objects of built-in kinds.

    Kinds that the types do not have are problems as well.
    """
    # After --models has been looked at: the types are read when they are first needed.
    from onenode.builtin_schema import UnknownKindError, schema_of  # noqa: PLC0415
    from onenode.schema import prune, validate  # noqa: PLC0415

    found = []
    for one in objects:
        group, _, version = one["apiVersion"].rpartition("/")
        name = f"{one['kind']} {one['metadata']['name']}"
        try:
            schema = schema_of(group, version, one["kind"])
        except UnknownKindError as error:
            found.append(f"{name}: {error}")
            continue
        found += [f"{name}: unknown field {field}" for field in prune(copy.deepcopy(one), schema)]
        found += [f"{name}: {cause.text}" for cause in validate(one, schema)]
    return found


def main() -> int:
    """Entry point: print problems, exit status 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, help="folder of an unpacked lightkube-models")
    parser.add_argument("files", nargs="*", type=Path, default=[ROOT / "deploy" / name for name in FILES])
    options = parser.parse_args()
    if options.models:
        lightkube.models.__path__ = [str(options.models / "lightkube/models")]
        for name in [name for name in sys.modules if name.startswith("lightkube.models.")]:
            del sys.modules[name]  # lightkube itself has read some of the installed ones
    found = []
    for file in options.files:
        objects = [one for one in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader) if one]
        found += [f"{file.name}: {text}" for text in problems(objects)]
    print(f"{len(found)} problems")
    for text in found:
        print(text, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
