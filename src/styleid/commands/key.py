"""styleid key: make the secret that pseudonyms depend on, or a pair of keys that certificates are signed with."""

from __future__ import annotations

from pathlib import Path

from styleid.people.key_file import new_key
from styleid.people.people_file import SUFFIX


def make_key(path: Path) -> int:
    """Write a new key and say what it is worth; return the exit status."""
    new_key(path)
    print(
        f"{path}: a new key, readable by its owner alone. Whoever has it and {path.name}{SUFFIX} can tell which new "
        "face stands for whom.\nKeep it apart from the pictures. Once it is destroyed, nobody can tell any more, and "
        "no later run can go on with the same faces."
    )
    return 0


def make_signing_key(path: Path) -> int:
    """Write a new pair of keys for signing certificates and say what each is for; return the exit status."""
    from styleid.evaluate.certificate.signature import fingerprint, new_signing_key, raw_public, read_public_key

    public = new_signing_key(path)
    print(
        f"{path}: a new private key, readable by its owner alone. Whoever has it can sign certificates in your name: "
        f"keep it apart from the pictures.\n{public}: its public key "
        f"({fingerprint(raw_public(read_public_key(public)))}). Give it to whoever checks your certificates, by "
        "another way than the certificates themselves."
    )
    return 0
