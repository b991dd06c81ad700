"""Real SSH keys and signatures by ssh-keygen, and a security key in software, since no hardware is here."""

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256


class Key:
    """A key in files, used by ssh-keygen alone."""

    def __init__(self, folder: Path, name: str = "key", kind: str = "ed25519", bits: int | None = None) -> None:
        if shutil.which("ssh-keygen") is None:
            pytest.skip("OpenSSH is not installed")
        self.file = folder / name
        size = ["-b", str(bits)] if bits else []
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", name, "-f", self.file], check=True)

    @property
    def line(self) -> str:
        return self.file.with_suffix(".pub").read_text().strip()

    @property
    def blob(self) -> bytes:
        return base64.b64decode(self.line.split()[1])

    def sign(self, message: bytes, namespace: str, *options: str) -> bytes:
        return subprocess.run(
            ["ssh-keygen", "-Y", "sign", "-q", "-f", self.file, "-n", namespace, *options],
            input=message,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        ).stdout


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def mpint(value: int) -> bytes:
    return string(value.to_bytes(value.bit_length() // 8 + 1))


def armour(blob: bytes) -> bytes:
    text = base64.b64encode(blob)
    lines = b"\n".join(text[at : at + 70] for at in range(0, len(text), 70))
    return b"-----BEGIN SSH SIGNATURE-----\n" + lines + b"\n-----END SSH SIGNATURE-----\n"


def dearmour(armoured: bytes) -> bytes:
    return base64.b64decode(b"".join(armoured.splitlines()[1:-1]))


class SecurityKey:
    """What a FIDO key does, by PROTOCOL.u2f: it signs the hash of the relying party, flags, a counter, and a hash."""

    def __init__(self, *, curve: str = "ed25519", application: str = "ssh:", touched: bool = True) -> None:
        self.application = application
        self.flags = 0x01 if touched else 0x00
        self.counter = 41
        self._key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
        if curve == "ed25519":
            self._key = ed25519.Ed25519PrivateKey.generate()
            self.type = b"sk-ssh-ed25519@openssh.com"
            public = string(self._key.public_key().public_bytes_raw())
        else:
            self._key = ec.generate_private_key(ec.SECP256R1())
            self.type = b"sk-ecdsa-sha2-nistp256@openssh.com"
            point = self._key.public_key().public_numbers()
            public = string(b"nistp256") + string(b"\x04" + point.x.to_bytes(32) + point.y.to_bytes(32))
        self.blob = string(self.type) + public + string(application.encode())

    @property
    def line(self) -> str:
        return f"{self.type.decode()} {base64.b64encode(self.blob).decode()}"

    def sign(self, message: bytes, namespace: str) -> bytes:
        self.counter += 1
        fields = [namespace.encode(), b"", b"sha512", hashlib.sha512(message).digest()]
        wanted = b"SSHSIG" + b"".join(map(string, fields))
        tail = bytes([self.flags]) + self.counter.to_bytes(4)
        signed = hashlib.sha256(self.application.encode()).digest() + tail + hashlib.sha256(wanted).digest()
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            value = self._key.sign(signed)
        else:
            value = b"".join(map(mpint, decode_dss_signature(self._key.sign(signed, ec.ECDSA(SHA256())))))
        signature = string(self.type) + string(value) + tail
        fields[3] = signature
        return armour(b"SSHSIG" + (1).to_bytes(4) + string(self.blob) + b"".join(map(string, fields)))
