"""styleid verify: compare a certificate with its files, and with the key of the person who should have signed."""

from __future__ import annotations

from pathlib import Path

from styleid.commands.messages import warn_of_each
from styleid.evaluate.certificate.verify import verify_certificate


def verify(certificate: Path, outputs: Path, public_key: Path | None) -> int:
    """Print whether a certificate and its files match, and who signed; return the exit status."""
    checked = verify_certificate(certificate, outputs, public_key)
    warn_of_each(checked.faults, "")
    if checked.faults:
        print("The certificate does NOT match these files.")
    elif checked.trusted:
        print(f"Valid: every file is as it was certified, and the given key signed ({checked.signer}).")
    else:
        print(_only_integrity(checked.signer))
    return checked.exit_status


def _only_integrity(signer: str) -> str:
    by = f"It names the key {signer} as its signer, which anybody can write" if signer else "It is not signed"
    return (
        f"Only integrity was checked: certificate and files match. {by}. To check who certified them, give the "
        "certifier's public key: --public-key FILE"
    )
