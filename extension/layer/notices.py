"""Writes the licences of all linked crates and libraries, each text once with its owners' names."""

from collections import defaultdict

from linked import Crate, Library

RULE = "-" * 79


def of(parts: list[Crate | Library]) -> str:
    owners: dict[str, list[str]] = defaultdict(list)
    for part in parts:
        for path in part.terms:
            lines = path.read_text("utf-8", "replace").strip().splitlines()
            owners["\n".join(map(str.rstrip, lines))].append(f"{part.name} {part.version}")
    licences = "\n".join(f"{part.name} {part.version}: {part.licence}" for part in parts)
    # Similar texts are next to each other, because the zip then stores their common parts once.
    similar = sorted(owners.items(), key=lambda owned: owned[0].lower().split())
    texts = [f"{RULE}\n{', '.join(names)}\n{RULE}\n\n{text}" for text, names in similar]
    return "\n\n".join(["Linked into Sidekey, each under its own licence:", licences, *texts]) + "\n"
