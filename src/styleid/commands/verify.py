"""styleid verify: compare a certificate with its files, and with the key of who should have signed it."""

from __future__ import annotations

from pathlib import Path

from styleid.commands.messages import warn_of_each
from styleid.evaluate.certificate.verify import verify_certificate


def verify(certificate: Path, outputs: Path, public_key: Path | None) -> int:
    """Print what holds and what does not; return the exit status."""
    checked = verify_certificate(certificate, outputs, public_key)
    warn_of_each(checked.faults, "")
    if checked.faults:
        print("The certificate does NOT hold for these files.")
    elif checked.trusted:
        print(f"The certificate holds: every file is as it was certified, signed by the given key ({checked.signer}).")
    else:
        print(_only_integrity(checked.signer))
    return checked.exit_status


def _only_integrity(signer: str) -> str:
    by = f"It says that the key {signer} signed it, which anybody can write" if signer else "It is not signed"
    return (
        f"Only integrity was checked: certificate and files fit together. {by}. To know who certified them, give the "
        "certifier's key: --public-key FILE"
    )
