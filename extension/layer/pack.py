"""Packs the layer of an architecture as a zip: pack.py ARCHITECTURE. `build` calls it from the root of
the repository.

The same contents give the same bytes: each file has the earliest time of the zip format, and this
script sets the order and the modes.
"""

import sys
import zipfile
from pathlib import Path

TARGETS = {"x86_64": "x86_64-unknown-linux-musl", "arm64": "aarch64-unknown-linux-musl"}
NO_TIME = (1980, 1, 1, 0, 0, 0)
UNIX = 3


def main(architecture: str) -> None:
    target = TARGETS[architecture]
    built = Path(f"target/{target}/layer")
    files = [
        # Lambda starts every file in this folder as an extension, so it has only one file.
        ("extensions/sidekey", 0o755, (built / "sidekey-extension").read_bytes()),
        ("sidekey/LICENSE", 0o644, Path("LICENSE").read_bytes()),
        ("sidekey/NOTICES", 0o644, (built / "sidekey-extension.NOTICES").read_bytes()),
        ("sidekey/exec-wrapper", 0o755, Path("extension/layer/sidekey/exec-wrapper").read_bytes()),
        ("sidekey/sbom.cdx.json", 0o644, (built / "sidekey-extension.cdx.json").read_bytes()),
    ]
    path = Path(f"target/lambda/sidekey-layer-{architecture}.zip")
    with zipfile.ZipFile(path, "w") as layer:
        for name, mode, contents in files:
            entry = zipfile.ZipInfo(name, NO_TIME)
            entry.create_system = UNIX
            entry.external_attr = (0o100000 | mode) << 16
            layer.writestr(entry, contents, zipfile.ZIP_DEFLATED, compresslevel=9)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
