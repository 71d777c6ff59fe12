"""Writes two documents beside a static binary: the licences of everything that is linked into it, as
PACKAGE.NOTICES, and its bill of materials, as PACKAGE.cdx.json.

    documents.py TARGET PACKAGE

`static` calls it from the root of the repository. The binary has the name of its package.
"""

import sys
from pathlib import Path

import linked
import notices
import sbom
import ziglang


def main(target: str, package: str) -> None:
    folder = Path(f"target/{target}/layer")
    binary = (folder / package).read_bytes()
    crates = linked.crates(target, package)
    libraries = linked.libraries(crates, target, Path(ziglang.__file__).parent)
    (folder / f"{package}.NOTICES").write_text(notices.of([*crates, *libraries]), "utf-8")
    (folder / f"{package}.cdx.json").write_text(sbom.of(binary, package, crates, libraries), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
