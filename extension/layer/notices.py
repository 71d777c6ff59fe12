"""The terms of all that is linked into the binary: each text once, below the names of whose it is."""

from collections import defaultdict

from linked import Crate, Library

RULE = "-" * 79


def of(parts: list[Crate | Library]) -> str:
    owners: dict[str, list[str]] = defaultdict(list)
    for part in parts:
        for path in part.terms:
            lines = path.read_text("utf-8", "replace").strip().splitlines()
            owners["\n".join(map(str.rstrip, lines))].append(f"{part.name} {part.version}")
    told = "\n".join(f"{part.name} {part.version}: {part.licence}" for part in parts)
    # Texts that are almost the same stand together: packed, the next ones take next to nothing.
    alike = sorted(owners.items(), key=lambda owned: owned[0].lower().split())
    texts = [f"{RULE}\n{', '.join(names)}\n{RULE}\n\n{text}" for text, names in alike]
    return "\n\n".join(["Linked into Sidekey, each under its own licence:", told, *texts]) + "\n"
