"""A study of which three bundles wait, and somewhere to send them."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesems_mri.config import Access
from tests.receiver import Service, Store
from tests.small_study import SmallStudy, copy_of


@pytest.fixture(scope="module")
def three_bundles(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    """A study of which three bundles wait, each with one more visit."""
    study = SmallStudy(tmp_path_factory.mktemp("study"))
    for session in ("ses-w00", "ses-w04", "ses-w12"):
        study.add("sub-001", session)
        study.finish()
        study.build()
    return study


@pytest.fixture
def study(three_bundles: SmallStudy, tmp_path: Path) -> SmallStudy:
    """A copy of it."""
    return copy_of(three_bundles, tmp_path / "copy")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def store(three_bundles: SmallStudy) -> Store:
    return Store(three_bundles.public_key)


@pytest.fixture
def service(store: Store, tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "arrived").mkdir()
    with Service(store, tmp_path / "arrived") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def access(service: Service, tmp_path: Path) -> Access:
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    return Access(destination=service.url, token_file=str(token))
