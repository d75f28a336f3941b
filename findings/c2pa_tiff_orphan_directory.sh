#!/usr/bin/env bash
# c2pa-python 0.38.1 leaves a TIFF's old directory behind when it signs the file.
#
# Input: a valid single-page TIFF with an ImageDescription, written by tifffile 2025.5.10.
# Expected: the signed file holds one directory; what it does not list is gone.
# Seen: a new directory is appended and the header points to it. The old directory stays at its old offset, byte for
# byte, and nothing points to it. A tool that later removes or changes a tag in the live directory leaves the old one
# as it was, and a check that follows the header never sees it.
#
# Needs python3 with venv, and PyPI. Works in a temporary folder, which it removes. The status is 0 as long as the
# package behaves as said above.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  c2pa-python==0.38.1 cryptography==50.0.2 numpy==2.2.6 tifffile==2025.5.10

cat > "$folder/show.py" <<'PYTHON'
import datetime
import io
import json
import struct
import sys

import c2pa
import numpy as np
import tifffile
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def certificate(name, issuer, public, signer, authority):
    def named(text):
        pairs = [(NameOID.COMMON_NAME, text), (NameOID.ORGANIZATION_NAME, "Example")]
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])

    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(x509.KeyUsage(True, False, False, False, False, authority, authority, False, False), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
chain = certificate("leaf", "root", leaf.public_key(), root, False)
chain += certificate("root", "root", root.public_key(), root, True)
key = leaf.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)

plain = io.BytesIO()
tifffile.imwrite(plain, np.zeros((16, 16, 3), np.uint8), description="an old description", photometric="rgb")
data = plain.getvalue()
(old_at,) = struct.unpack_from("<I", data, 4)
entries = struct.unpack_from("<H", data, old_at)[0]
old = data[old_at : old_at + 2 + 12 * entries]

manifest = {
    "claim_generator_info": [{"name": "example", "version": "1"}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
                    }
                ]
            },
        }
    ],
}
signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo("es256", chain, key, None))
out = io.BytesIO()
c2pa.Builder(json.dumps(manifest)).sign(signer, "image/tiff", io.BytesIO(data), out)
signed = out.getvalue()
(new_at,) = struct.unpack_from("<I", signed, 4)
print(f"c2pa {c2pa.sdk_version()}: directory at {old_at} before, at {new_at} in the signed file")
kept = signed[old_at : old_at + len(old)] == old
print(f"old directory still at {old_at}: {kept}")
sys.exit(not (new_at != old_at and kept))
PYTHON
"$folder/venv/bin/python" "$folder/show.py"
