"""Signatures of electronic certificates (电子签章): Ed25519 over the certificate's identity, version and file digest.

Signing needs a key and verifying needs a file: neither happens in a fold. The certificate centre verifies when it stores a
file and writes the finding to `certs.certificate_check`; the flow reads that.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def signed_text(cert_id: str, version: int, file_digest: str) -> bytes:
    """What is signed: the file by its digest, and which certificate in which version it claims to be."""
    return f"{cert_id}\n{version}\n{file_digest}".encode()


def sign(key: bytes, cert_id: str, version: int, file_digest: str) -> bytes:
    """The signature, 64 bytes. `key` is the issuer's private key, 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(key).sign(signed_text(cert_id, version, file_digest))


def public_key(key: bytes) -> bytes:
    """The public key, 32 bytes, of a private one."""
    return Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()


def is_genuine(public: bytes, signature: bytes, cert_id: str, version: int, file_digest: str) -> bool:
    """Whether the holder of the public key signed this file as this version of this certificate."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed_text(cert_id, version, file_digest))
    except InvalidSignature:
        return False
    return True
