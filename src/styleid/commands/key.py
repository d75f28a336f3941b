"""styleid key: make a key for consistent targets, or a pair of keys to sign certificates with."""

from __future__ import annotations

from pathlib import Path

from styleid.people.key_file import new_key
from styleid.people.people_file import SUFFIX


def make_key(path: Path) -> int:
    """Write a new key and print what it is for; return the exit status."""
    new_key(path)
    print(
        f"{path}: a new key. Only its owner can read it. Whoever has it and {path.name}{SUFFIX} can find out which "
        "person has which new face.\nKeep it apart from the pictures. Once it is destroyed, nobody can find that out, "
        "and no later run can give the same faces."
    )
    return 0


def make_signing_key(path: Path) -> int:
    """Write a new pair of keys to sign certificates with, and print what each is for; return the exit status."""
    from styleid.evaluate.certificate.signature import fingerprint, new_signing_key, raw_public, read_public_key

    public = new_signing_key(path)
    print(
        f"{path}: a new private key. Only its owner can read it. Whoever has it can sign certificates in your name: "
        f"keep it apart from the pictures.\n{public}: its public key "
        f"({fingerprint(raw_public(read_public_key(public)))}). Give it to the people who check your certificates, but "
        "not together with a certificate."
    )
    return 0
