"""Keys of a site: Ed25519 (RFC 8032), as PEM files that openssl reads."""

import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mesems_mri.errors import UsageError

_OTHERS = 0o077


def make_keys(path: Path) -> Ed25519PublicKey:
    """Write a new private key (PKCS #8, for its owner alone) and beside it ``.pub``, the public one.

    Raises
    ------
    UsageError
        If one of the files is there already, or cannot be written.
    """
    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = public_pem(private.public_key())
    try:
        if path.exists():
            raise _exists(path)
        # the public one first: a crash between the two must not leave a private key that nobody can check
        for place, content, mode in ((public_path(path), public, 0o644), (path, secret, 0o600)):
            descriptor = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        msg = f"{path}: the key cannot be written ({error.strerror}); choose a folder that you may write to"
        raise UsageError(msg) from error
    return private.public_key()


def public_path(path: Path) -> Path:
    """Name the file of the public key beside that of the private one."""
    return path.with_name(f"{path.name}.pub")


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises
    ------
    UsageError
        If it is missing, open to others, or no Ed25519 private key.
    """
    content = _read(path, private=True)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        msg = f"{path}: is no private key in PEM form; give the file that mesems-mri transfer keygen wrote"
        raise UsageError(msg) from error
    if not isinstance(key, Ed25519PrivateKey):
        msg = f"{path}: is another kind of key, expected Ed25519; make one with mesems-mri transfer keygen"
        raise UsageError(msg)
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key.

    Raises
    ------
    UsageError
        If it is missing or no Ed25519 public key.
    """
    return parse_public_key(_read(path), str(path))


def parse_public_key(content: bytes, name: str) -> Ed25519PublicKey:
    """Read a public key from the bytes of its PEM form; `name` is for the error text.

    Raises
    ------
    UsageError
        If it is no Ed25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(content)
    except ValueError as error:
        msg = f"{name}: is no public key in PEM form; give the .pub file of mesems-mri transfer keygen"
        raise UsageError(msg) from error
    if not isinstance(key, Ed25519PublicKey):
        msg = f"{name}: is another kind of key, expected Ed25519; make one with mesems-mri transfer keygen"
        raise UsageError(msg)
    return key


def public_pem(key: Ed25519PublicKey) -> bytes:
    """Return the PEM form (SubjectPublicKeyInfo) of a public key."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of a public key (DER), by which two people compare it over the telephone."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return digest.finalize().hex()


def is_signed(content: bytes, signature: bytes, key: Ed25519PublicKey) -> bool:
    """Return whether a signature is that of a key over exactly these bytes."""
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def read_secret(path: Path, what: str) -> str:
    """Read a secret that is one line of text, e.g. a token.

    Raises
    ------
    UsageError
        If it is missing, open to others, or empty.
    """
    text = _read(path, private=True, what=what).decode("ascii", "replace").strip()
    if not text or not text.isprintable() or " " in text:
        msg = f"{path}: holds no {what}, expected one line without spaces; write the {what} into it"
        raise UsageError(msg)
    return text


def _exists(path: Path) -> UsageError:
    msg = f"{path}: there is a key of this name already, and keys are never replaced; choose another name"
    return UsageError(msg)


def _read(path: Path, *, private: bool = False, what: str = "key") -> bytes:
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if private and mode & _OTHERS:
                msg = f"{path}: others can open the {what} (mode {mode:04o}, expected 0600); chmod 600 it"
                raise UsageError(msg)
            return stream.read(10_000)
    except OSError as error:
        msg = f"{path}: the {what} cannot be read ({error.strerror}); give the file of the {what}"
        raise UsageError(msg) from error
