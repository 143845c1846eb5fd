"""Write the byte code of the image's modules: ``image_bytecode.py ROOT FOLDER...``.

Valid whatever the time of the source is ("unchecked hash"): the image's files never change.
"""

import py_compile
import sys
from pathlib import Path


def main() -> None:
    """Compile all modules below the folders of the root directory, in sorted order."""
    root = Path(sys.argv[1])
    for folder in sys.argv[2:]:
        for source in sorted((root / folder).rglob("*.py")):
            target = source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
            py_compile.compile(
                str(source),
                cfile=str(target),
                dfile=f"/{source.relative_to(root)}",
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )


if __name__ == "__main__":
    main()
