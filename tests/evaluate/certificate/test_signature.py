"""Only certificates with an unchanged content and the right signature pass."""

import hashlib
import json
import stat
import sys
from pathlib import Path

import pytest

from styleid.cli import main
from styleid.errors import CertificateError, KeyFileError
from styleid.evaluate.certificate.hashes import hash_outputs
from styleid.evaluate.certificate.signature import canonical, read_private_key, read_public_key, seal, sign
from styleid.evaluate.certificate.verify import FORMAT, KIND, verify_certificate


@pytest.fixture
def key(tmp_path) -> Path:
    assert main(["key", "new", "--signing", str(tmp_path / "board.key")]) == 0
    return tmp_path / "board.key"


@pytest.fixture
def outputs(tmp_path) -> Path:
    folder = tmp_path / "anonymised"
    (folder / "a").mkdir(parents=True)
    for name in ("a/1.jpg", "b.png", "styleid-journal.jsonl", ".hidden"):
        (folder / name).write_bytes(name.encode())
    return folder


def record_of(outputs: Path) -> dict:
    return {"kind": KIND, "format": FORMAT, "share": 0.1 + 0.2, "outputs": {"sha256": hash_outputs(outputs)}}


@pytest.fixture
def certificate(tmp_path, key, outputs) -> Path:
    path = tmp_path / "out" / "certificate.json"
    path.parent.mkdir()
    path.write_text(json.dumps(sign(record_of(outputs), read_private_key(key)), indent=1))
    return path


def verified(certificate: Path, outputs: Path, *more: object) -> int:
    return main(["verify", str(certificate), str(outputs), *map(str, more)])


def test_keys_are_written_once_and_the_private_one_for_its_owner(key, tmp_path, capsys):
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert (tmp_path / "board.key.pub").read_text().startswith("-----BEGIN PUBLIC KEY")
    before = key.read_bytes()
    assert main(["key", "new", "--signing", str(key)]) == 1
    assert "never overwritten" in capsys.readouterr().err
    assert key.read_bytes() == before
    assert main(["key", "new", "--signing", str(tmp_path / "none" / "x")]) == 1


def test_what_was_signed_by_the_key_holds(certificate, outputs, tmp_path, capsys):
    assert verified(certificate, outputs, "--public-key", tmp_path / "board.key.pub") == 0
    assert "the given key signed" in capsys.readouterr().out


def test_without_a_key_only_integrity_is_checked(certificate, outputs, capsys):
    assert verified(certificate, outputs) == 3
    assert "Only integrity was checked" in capsys.readouterr().out


def change(outputs: Path) -> None:
    (outputs / "a/1.jpg").write_bytes(b"another picture")


def remove(outputs: Path) -> None:
    (outputs / "b.png").unlink()


def add(outputs: Path) -> None:
    (outputs / ".another.jpg").write_bytes(b"slipped in")


@pytest.mark.parametrize(
    ("alter", "said"),
    [(change, "a/1.jpg: changed"), (remove, "b.png: missing"), (add, ".another.jpg: not in the certificate")],
)
@pytest.mark.parametrize("with_key", [True, False])
def test_outputs_that_were_altered_are_named(alter, said, with_key, certificate, outputs, tmp_path, capsys):
    alter(outputs)
    more = ("--public-key", tmp_path / "board.key.pub") if with_key else ()
    assert verified(certificate, outputs, *more) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("edit", [{"share": 0.0}, {"more": 1}, {"share": "0.30000000000000004"}])
def test_a_certificate_that_was_edited_fails(edit, certificate, outputs, tmp_path):
    certificate.write_text(json.dumps(json.loads(certificate.read_text()) | edit))
    assert verified(certificate, outputs, "--public-key", tmp_path / "board.key.pub") == 1
    assert verified(certificate, outputs) == 1


def test_a_certificate_signed_anew_by_somebody_else_fails(certificate, outputs, tmp_path, capsys):
    change(outputs)
    assert main(["key", "new", "--signing", str(tmp_path / "other.key")]) == 0
    forged = sign(record_of(outputs), read_private_key(tmp_path / "other.key"))
    certificate.write_text(json.dumps(forged))
    assert verified(certificate, outputs, "--public-key", tmp_path / "board.key.pub") == 1
    assert "signed by another key" in capsys.readouterr().err
    assert verified(certificate, outputs) == 3
    # nor does it help to name the trusted key beside the forger's signature
    trusted = sign({}, read_private_key(tmp_path / "board.key"))["signature"]["public_key"]
    forged["signature"]["public_key"] = trusted
    certificate.write_text(json.dumps(forged))
    checked = verify_certificate(certificate, outputs, tmp_path / "board.key.pub")
    assert checked.faults == ("the signature does not match the certificate",)


def test_an_unsigned_certificate_is_whole_but_not_trusted(certificate, outputs, tmp_path, capsys):
    certificate.write_text(json.dumps(seal(record_of(outputs))))
    assert verified(certificate, outputs) == 3
    assert "It is not signed" in capsys.readouterr().out
    assert verified(certificate, outputs, "--public-key", tmp_path / "board.key.pub") == 1
    record = json.loads(certificate.read_text())
    certificate.write_text(json.dumps(record | {"share": 0.5}))
    assert verified(certificate, outputs) == 1


def test_only_the_certificate_itself_and_its_pages_may_lie_among_the_outputs(certificate, key, outputs):
    page = b"<!doctype html>"
    record = record_of(outputs) | {"pages": {"board.html": hashlib.sha256(page).hexdigest()}}
    inside = outputs / "papers" / "certificate.json"
    inside.parent.mkdir()
    inside.write_text(json.dumps(sign(record, read_private_key(key))))
    (inside.parent / "board.html").write_bytes(page)
    assert verified(inside, outputs, "--public-key", f"{key}.pub") == 0
    (inside.parent / "original.jpg").write_bytes(b"slipped in")
    assert verified(inside, outputs, "--public-key", f"{key}.pub") == 1


def test_a_page_that_was_changed_is_named(certificate, key, outputs, capsys):
    record = record_of(outputs) | {"pages": {"board.html": hashlib.sha256(b"x").hexdigest()}}
    certificate.write_text(json.dumps(sign(record, read_private_key(key))))
    assert verified(certificate, outputs, "--public-key", f"{key}.pub") == 0  # it need not be there
    (certificate.parent / "board.html").write_bytes(b"y")
    assert verified(certificate, outputs, "--public-key", f"{key}.pub") == 1
    assert "board.html: changed" in capsys.readouterr().err


def test_a_signature_that_cannot_be_read_fails(certificate, outputs):
    record = json.loads(certificate.read_text())
    for field in ({"algorithm": "Ed25519"}, {"algorithm": "Ed25519", "public_key": "?", "value": "?"}, None, "x"):
        certificate.write_text(json.dumps(record | {"signature": field}))
        assert verified(certificate, outputs) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "a", "kind": "b"}', '{"kind": "styleid certificate"}'])
def test_what_is_no_certificate_is_refused(text, tmp_path, outputs):
    path = tmp_path / "certificate.json"
    path.write_text(text)
    with pytest.raises(CertificateError, match=r"certificate\.json"):
        verify_certificate(path, outputs)
    assert verified(path, outputs) == 1


def test_a_missing_certificate_or_output_is_told(tmp_path, certificate, outputs):
    with pytest.raises(CertificateError, match="cannot be read"):
        verify_certificate(tmp_path / "none.json", outputs)
    with pytest.raises(CertificateError, match="no such file"):
        verify_certificate(certificate, tmp_path / "nowhere")


def test_what_is_no_key_is_refused(tmp_path, key, certificate, outputs):
    for name, content in (("empty", b""), ("text", b"hello"), ("private as public", key.read_bytes())):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(KeyFileError, match="not a public key"):
            read_public_key(tmp_path / name)
    with pytest.raises(KeyFileError, match="not a key for signing"):
        read_private_key(tmp_path / "board.key.pub")
    with pytest.raises(KeyFileError, match="cannot be read"):
        read_public_key(tmp_path / "nowhere")
    assert verified(certificate, outputs, "--public-key", tmp_path / "text") == 1


def test_other_kinds_of_keys_are_refused(tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    other = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "ec").write_bytes(
        other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "ec.pub").write_bytes(
        other.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(KeyFileError):
        read_private_key(tmp_path / "ec")
    with pytest.raises(KeyFileError):
        read_public_key(tmp_path / "ec.pub")


def test_without_the_package_the_install_line_is_named(certificate, key, outputs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    for given in (["verify", str(certificate), str(outputs)], ["key", "new", "--signing", f"{key}2"]):
        assert main(given) == 1
        assert "pip install 'styleid[keys]'" in capsys.readouterr().err
    certificate.write_text(json.dumps(seal(record_of(outputs))))
    assert verified(certificate, outputs) == 3  # what is not signed needs no package


def test_the_signed_form_does_not_depend_on_order_or_spaces():
    one = {"b": [1, 2.5, None], "a": {"ü": "é"}, "signature": 1}
    two = json.loads(json.dumps({"signature": 2, "a": {"ü": "é"}, "b": [1, 2.5, None]}, indent=3))
    assert canonical(one) == canonical(two) == b'{"a":{"\\u00fc":"\\u00e9"},"b":[1,2.5,null]}'


def test_a_single_file_and_linked_folders_are_hashed(tmp_path, outputs):
    assert list(hash_outputs(outputs / "b.png")) == ["b.png"]
    (outputs / "loop").symlink_to(outputs)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.jpg").write_bytes(b"c")
    (outputs / "linked").symlink_to(tmp_path / "elsewhere")
    assert sorted(hash_outputs(outputs)) == [".hidden", "a/1.jpg", "b.png", "linked/c.jpg", "styleid-journal.jsonl"]
