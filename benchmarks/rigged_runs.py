"""Manipulate a finished run in known ways, certify each variant, and record the findings of the certificate.

    python benchmarks/rigged_runs.py ORIGINALS OUTPUTS --out DIR [--share .02] [--recognisers gate] [--faces 1000]

The variants: a share of the faces is restored (with the original pixels, encoded again, moved by one pixel, or also
removed from the journal), every output is a copy of its original, every face is filled, or one output contains a
thumbnail of its original. The questions of the sample are answered truthfully. For each variant, the bound, the number
of untouched photos in the sample, and the findings are written to `results/rigged_runs.json`; entries of other variants
stay. The honest run is signed and verified three times: unchanged, after a change of one output, and signed by another
key. Copies of the run are written to DIR.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from styleid.cli import main as styleid
from styleid.engine.journal import NAME
from styleid.evaluate.certificate.audit_page import ANSWERS_KIND
from styleid.evaluate.certificate.certify import CERTIFICATE, STATE, CertifyOptions, certify
from styleid.evaluate.certificate.sample import CLEAN, UNTOUCHED, Sample
from styleid.evaluate.certificate.signature import new_signing_key
from styleid.evaluate.certificate.verify import verify_certificate

Change = Callable[[np.ndarray], np.ndarray]
_AROUND = 0.25
_SEED = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("originals", type=Path)
    parser.add_argument("outputs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--recognisers", default="gate")
    parser.add_argument("--faces", type=int, default=1000, help="how many faces are attacked")
    parser.add_argument("--rigs", nargs="+", choices=RIGS, default=list(RIGS))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "rigged_runs.json")
    args = parser.parse_args()
    told = json.loads(args.results.read_text()) if args.results.exists() else {}
    for rig in args.rigs:
        outputs = args.out / rig / "outputs"
        shutil.rmtree(args.out / rig, ignore_errors=True)
        untouched = RIGS[rig](args.originals, args.outputs, outputs, args.share)
        options = CertifyOptions(
            args.out / rig / "certificate", identities="folders", recognisers=args.recognisers, faces=args.faces
        )
        told[rig] = certified(args.originals, outputs, options, untouched)
        if rig == "honest":
            told[rig]["verified"] = verified(args.originals, outputs, options)
        shutil.rmtree(outputs)
        args.results.write_text(json.dumps(told, indent=1) + "\n")
        print(rig, json.dumps(told[rig]))


def certified(originals: Path, outputs: Path, options: CertifyOptions, untouched: set[str]) -> dict:
    """Certify a variant with truthful answers, and return its figures."""
    out = options.out
    certify(originals, outputs, options)
    sample = Sample.from_json(json.loads((out / STATE).read_text())["sample"])
    answers = {q.number: UNTOUCHED if q.photo in untouched else CLEAN for q in sample.questions}
    record = {"kind": ANSWERS_KIND, "sample": sample.identity, "by": "benchmark", "when": "", "answers": answers}
    (out / "answers.json").write_text(json.dumps(record))
    told = certify(originals, outputs, replace(options, answers=out / "answers.json")).record
    return {
        "untouched_photos": len(untouched),
        "true_share": round(len(untouched) / told["photos"]["published"], 4),
        "bound": round(told["audit"]["at_most_share"], 4),
        "in_the_sample": len(untouched & {q.photo for q in sample.questions}),
        "faces": {name: told["faces"][name] for name in ("found_or_listed", "obscured", "left_as_they_were")},
        "findings": {one["what"]: one["count"] for one in told["findings"]},
    }


def verified(originals: Path, outputs: Path, options: CertifyOptions) -> dict[str, int]:
    """Return the exit status of verification for a signed run, a changed output and another signer."""
    ours, theirs = (new_signing_key(options.out.parent / f"{name}.key") for name in ("ours", "theirs"))
    certificate, told = options.out / CERTIFICATE, {}

    def signed_by(public: Path) -> None:
        given = replace(options, answers=options.out / "answers.json", key=public.with_suffix(""))
        certify(originals, outputs, given)

    def check() -> int:
        return verify_certificate(certificate, outputs, ours).exit_status

    signed_by(ours)
    told["signed"] = check()
    name = json.loads((outputs / NAME).read_text().splitlines()[0])["input"]
    content = (outputs / name).read_bytes()
    (outputs / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    told["changed after signing"] = check()
    (outputs / name).write_bytes(content)
    signed_by(theirs)
    return told | {"signed by somebody else": check()}


def restored(change: Change, *, listed: bool = True) -> Callable[[Path, Path, Path, float], set[str]]:
    """Return a function that restores a share of the original faces, each after a small change."""

    def rig(originals: Path, source: Path, outputs: Path, share: float) -> set[str]:
        shutil.copytree(source, outputs)
        lines = [json.loads(line) for line in (outputs / NAME).read_text().splitlines()]
        faces = [(n, k) for n, line in enumerate(lines) for k in range(len(line["faces"]))]
        count = round(share * len(faces))
        chosen = [faces[place] for place in np.random.default_rng(_SEED).permutation(len(faces))[:count]]
        for n, k in sorted(chosen, reverse=True):
            name, box = lines[n]["input"], lines[n]["faces"][k]["box"]
            content = with_face(originals / name, outputs / name, box, change)
            (outputs / name).write_bytes(content)
            lines[n] |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            if not listed:
                del lines[n]["faces"][k]
        (outputs / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
        return {lines[n]["input"] for n, _ in chosen}

    return rig


def with_face(original: Path, output: Path, box: Sequence[float], change: Change) -> bytes:
    before, after = (np.asarray(Image.open(path).convert("RGB")).copy() for path in (original, output))
    shown = change(before)
    pad = _AROUND * max(box[2] - box[0], box[3] - box[1])
    x0, y0 = (max(int(value - pad), 0) for value in box[:2])
    x1, y1 = (int(value + pad) for value in box[2:])
    after[y0:y1, x0:x1] = shown[y0:y1, x0:x1]
    return jpeg(after, 97)


def jpeg(image: np.ndarray, quality: int) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "JPEG", quality=quality, subsampling=0)
    return packed.getvalue()


def encoded_again(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg(image, 75))))


def copier(originals: Path, source: Path, outputs: Path, share: float) -> set[str]:
    """Copy every original to its output."""
    del share
    shutil.copytree(source, outputs)
    names = [json.loads(line)["input"] for line in (outputs / NAME).read_text().splitlines()]
    for name in names:
        shutil.copy(originals / name, outputs / name)
    return set(names)


def solid(originals: Path, source: Path, outputs: Path, share: float) -> set[str]:
    """Fill every face."""
    del source, share
    given = ["anonymize", str(originals), "--out", str(outputs), "--method", "none", "--obscure", "solid", "--quiet"]
    if styleid(given) != 0:
        raise SystemExit("the faces could not be filled")
    return set()


def thumbnail(originals: Path, source: Path, outputs: Path, share: float) -> set[str]:
    """Hide a thumbnail of the original in one output."""
    del share
    shutil.copytree(source, outputs)
    name = json.loads((outputs / NAME).read_text().splitlines()[0])["input"]
    small = Image.open(originals / name)
    small.thumbnail((96, 96))
    inner, data = jpeg(np.asarray(small.convert("RGB")), 90), (outputs / name).read_bytes()
    part = b"thumb\0" + inner
    (outputs / name).write_bytes(data[:2] + b"\xff\xec" + (len(part) + 2).to_bytes(2, "big") + part + data[2:])
    return set()


def honest(originals: Path, source: Path, outputs: Path, share: float) -> set[str]:
    """Change nothing."""
    del originals, share
    shutil.copytree(source, outputs)
    return set()


RIGS = {
    "honest": honest,
    "restored": restored(np.copy),
    "restored, encoded again": restored(encoded_again),
    "restored, moved by a pixel": restored(lambda image: np.roll(image, 1, 1)),
    "restored, left out of the journal": restored(np.copy, listed=False),
    "copier": copier,
    "solid": solid,
    "thumbnail": thumbnail,
}


if __name__ == "__main__":
    main()
