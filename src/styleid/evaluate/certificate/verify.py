"""Check the signature of a certificate, and that the files are those that it lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleid.errors import CertificateError
from styleid.evaluate.certificate.hashes import differences, hash_file, list_files
from styleid.evaluate.certificate.signature import fault, read_public_key, read_record, signer

FORMAT = 1
KIND = "styleid certificate"


@dataclass(frozen=True)
class Checked:
    """The result of a check.

    record: the certificate. faults: what is wrong, one line each. trusted: whether the signature was checked with a key
    that the user gave.
    """

    record: dict[str, Any]
    faults: tuple[str, ...]
    trusted: bool

    @property
    def exit_status(self) -> int:
        """0 if everything is right; 1 if something is wrong; 3 if only integrity could be checked."""
        return 1 if self.faults else 0 if self.trusted else 3

    @property
    def signer(self) -> str:
        """The fingerprint of the key that signed; "" if the certificate is not signed."""
        return signer(self.record)


def verify_certificate(certificate: Path, outputs: Path, public_key: Path | None = None) -> Checked:
    """Compare a certificate with the outputs and with a public key, as `styleid verify` does.

    Without a public key only integrity is checked. A file in `outputs` that the certificate does not list is a fault,
    except the certificate itself and its pages.

    Args:
        certificate: `certificate.json`, as `certify` wrote it.
        outputs: The folder or video that was certified.
        public_key: Public key of the person who should have signed.

    Returns:
        What does not hold. `exit_status` is that of the command.

    Raises:
        CertificateError: The certificate cannot be read.
        KeyFileError: The key cannot be used.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import verify_certificate
        >>> checked = verify_certificate(Path("certificate/certificate.json"), Path("anonymised"))
        >>> checked.faults, checked.trusted
        ((), False)
    """
    public = None if public_key is None else read_public_key(public_key)
    record = read_record(certificate)
    signed = signed_hashes(record, certificate)
    faults = [why] if (why := fault(record, public)) else []
    pages = {certificate.with_name(name): digest for name, digest in _pages(record).items()}
    faults += [f"{page.name}: changed" for page, digest in pages.items() if page.exists() and hash_file(page) != digest]
    own = {path.resolve() for path in (certificate, *pages)}
    found = {name: hash_file(path) for name, path in list_files(outputs) if path.resolve() not in own}
    faults += differences(signed, found).lines()
    return Checked(record, tuple(faults), public is not None)


def _pages(record: dict[str, Any]) -> dict[str, str]:
    """Return the hashes of the certificate's pages, which lie beside it, by their plain names."""
    pages = record.get("pages")
    found = pages.items() if isinstance(pages, dict) else ()
    return {name: str(digest) for name, digest in found if name == Path(name).name and name.endswith(".html")}


def signed_hashes(record: dict[str, Any], path: Path) -> dict[str, str]:
    """Return the hashes of the files that a certificate lists; raises CertificateError if its form is wrong."""
    if record.get("kind") != KIND or record.get("format") != FORMAT:
        raise CertificateError(path, f"it is not a certificate of styleid, or not of format {FORMAT}.")
    outputs = record.get("outputs")
    found = outputs.get("sha256") if isinstance(outputs, dict) else None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CertificateError(path, "it lists no hashes of outputs.")
    return found
