"""styleid certify: certify a finished run, and draw the sample that people look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from styleid.commands.messages import counted, with_flags
from styleid.commands.progress import progress
from styleid.engine.journal import to_json_line
from styleid.evaluate.certificate.certify import Certified, CertifyOptions, certify
from styleid.evaluate.certificate.signature import is_signed, signer


@dataclass(frozen=True)
class CertifyCommandOptions:
    """Choose what the command prints.

    json: print the certificate as one line of JSON on standard output.
    quiet: show no progress bar.
    """

    json: bool = False
    quiet: bool = False


def certify_run(originals: Path, outputs: Path, options: CertifyOptions, command: CertifyCommandOptions) -> int:
    """Certify a run and print what was found; return the exit status."""
    with progress(command.quiet or command.json) as watch:
        certified = certify(originals, outputs, options, watch)
    print(to_json_line(certified.record) if command.json else _readable(certified))
    return certified.exit_status


def _readable(certified: Certified) -> str:
    record = certified.record
    photos, faces, unit = record["photos"], record["faces"], record["run"]["unit"]
    lines = [
        f"{photos['total']} {unit}: {photos['published']} published, {photos['withheld']} withheld; "
        f"{counted(faces['found_or_listed'], 'face')}, {faces['kept_on_purpose']} of them kept on purpose"
    ]
    lines += [f"found: {one['what']}: {one['count']}{_first(one['names'])}" for one in record["findings"]]
    lines += [f"partial: {with_flags(line)}" for line in record["partial"]]
    audit = record["audit"]
    if audit:
        lines.append(audit["claim"])
        if audit["unanswered"]:
            lines.append(f"{counted(audit['unanswered'], 'question')} without an answer, counted as missed faces")
    if certified.audit_page is not None:
        lines.append(f"to be answered by a person: {certified.audit_page}")
        lines.append("then run the same command with --answers FILE, the file that the page saves")
    signed = f"signed by {signer(record)}" if is_signed(record) else "not signed; --key FILE signs"
    lines.append(f"certificate ({signed}): " + ", ".join(str(page) for page in certified.pages))
    return "\n".join(lines).encode(errors="backslashreplace").decode()  # names of files may hold any bytes


def _first(names: list[str]) -> str:
    return f", such as {names[0]}" if names else ""
