"""Sites, keys and tokens."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select

from mesems_mri.central import schema
from mesems_mri.central.sites import (
    Role,
    TokenHolder,
    add_key,
    add_site,
    add_token,
    holder_of,
    keys_of,
    listing,
    revoke,
)
from mesems_mri.central.store import Store
from mesems_mri.errors import DatasetError, UsageError
from mesems_mri.transfer.keys import fingerprint, public_pem
from tests.unit.central.conftest import Trial


def test_holder_of_a_token(trial: Trial) -> None:
    with trial.store.writing() as connection:
        sender = add_token(connection, Role.SENDER, "site S01", "admin", days=1, site_id="S01")
        auditor = add_token(connection, Role.AUDITOR, "A. Auditor", "admin", days=1)
        assert holder_of(connection, sender) == TokenHolder("site S01", Role.SENDER, "S01")
        assert holder_of(connection, auditor) == TokenHolder("A. Auditor", Role.AUDITOR, "")
        assert holder_of(connection, sender + "x") == "the token is not known"
    assert len({sender, auditor}) == 2
    assert len(sender) > 40


@pytest.mark.parametrize(
    ("role", "site_id"), [(Role.SENDER, None), (Role.AUDITOR, "S01"), (Role.SENDER, "S9")]
)
def test_token_without_or_with_a_wrong_site(trial: Trial, role: Role, site_id: str | None) -> None:
    with pytest.raises(UsageError), trial.store.writing() as connection:
        add_token(connection, role, "x", "admin", days=1, site_id=site_id)


def test_key_must_be_new_and_ed25519(trial: Trial) -> None:
    public = trial.keys["S01"].public_key()
    other = generate_private_key(SECP256R1()).public_key()
    other_pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for site_id, pem, words in (
        ("S01", public_pem(public), "is or was registered"),
        ("S01", other_pem, "expected Ed25519"),
        ("S01", b"ssh-ed25519 AAAA", "is no public key in PEM form"),
        ("S09", public_pem(public), "site S09: is not registered"),
    ):
        with pytest.raises(UsageError, match=words), trial.store.writing() as connection:
            add_key(connection, site_id, pem, "admin")
    assert any(fingerprint(public) in line for line in _listed(trial))


def test_key_of_a_reading_centre_serves_several_sites_and_is_revoked_for_all(trial: Trial) -> None:
    key = Ed25519PrivateKey.generate().public_key()
    with trial.store.writing() as connection:
        for site_id in ("S01", "S02"):
            add_key(connection, site_id, public_pem(key), "admin")
            assert fingerprint(key) in keys_of(connection, site_id)
        revoke(connection, fingerprint(key), "admin")
        assert all(fingerprint(key) not in keys_of(connection, site_id) for site_id in ("S01", "S02"))
        with pytest.raises(UsageError, match="is or was registered"):
            add_key(connection, "S01", public_pem(key), "admin")


def test_site_is_added_once_under_a_label(trial: Trial) -> None:
    for site_id, words in (("S01", "registered already"), ("../x", "is no label"), ("", "is no label")):
        with pytest.raises(UsageError, match=words), trial.store.writing() as connection:
            add_site(connection, site_id, "admin")


def test_revoked_thing_is_named_exactly(trial: Trial) -> None:
    key = Ed25519PrivateKey.generate().public_key()
    with trial.store.writing() as connection:
        add_key(connection, "S01", public_pem(key), "admin")
        value = add_token(connection, Role.SENDER, "site S01", "admin", days=1, site_id="S01")
        token_id = connection.scalar(select(schema.token.c.token_id)) or ""
        for identifier in ("", "%", fingerprint(key)[:4], "0" * 8):
            with pytest.raises(UsageError, match="begin so"):
                revoke(connection, identifier, "admin")
        assert revoke(connection, fingerprint(key)[:12], "admin") == f"key {fingerprint(key)}"
        assert revoke(connection, token_id, "admin") == f"token {token_id}"
        assert "was revoked" in str(holder_of(connection, value))
    assert sum("revoked" in line for line in _listed(trial)) == 2


def test_database_of_another_kind_is_refused(tmp_path: Path, trial: Trial) -> None:
    with pytest.raises(UsageError, match="is no central database"):
        Store(str(tmp_path / "other.db")).study()
    with pytest.raises(UsageError, match="is a central database already"):
        trial.store.create("OTHER", "admin")
    with pytest.raises(UsageError, match=r"cannot be read|Can't load plugin"):
        Store("nonsense://x")
    with trial.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial SET database_version = 99")
    with pytest.raises(DatasetError, match="tables of version 99"):
        trial.store.study()


def test_database_file_is_for_its_owner_alone(trial: Trial) -> None:
    assert (trial.folder / "central.db").stat().st_mode & 0o077 == 0


def test_password_is_not_shown() -> None:
    assert "secret" not in Store("postgresql://central:secret@127.0.0.1:1/x").shown


def _listed(trial: Trial) -> list[str]:
    with trial.store.reading() as connection:
        return listing(connection)
