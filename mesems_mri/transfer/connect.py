"""Choice of the kind of destination by its address."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

from mesems_mri.config import Access
from mesems_mri.errors import UsageError
from mesems_mri.transfer.destination import Destination
from mesems_mri.transfer.folder import FolderInbox


@contextlib.contextmanager
def connected(access: Access) -> Generator[Destination]:
    """Connect to a destination; the libraries of HTTPS and SFTP are imported when needed.

    Raises
    ------
    UsageError
        If it is no destination, or cannot be used as it is given.
    DeliveryError
        If it cannot be reached.
    """
    kind = urlsplit(access.destination).scheme
    if kind == "sftp":
        from mesems_mri.transfer.sftp import SftpInbox

        with SftpInbox.connected(access) as inbox:
            yield inbox
    elif kind in ("https", "http"):
        from mesems_mri.transfer.https import HttpsService

        with HttpsService.connected(access) as service:
            yield service
    elif not kind and access.destination:
        yield FolderInbox(Path(access.destination).expanduser())
    else:
        msg = (
            f"destination {access.destination!r}: expected a folder, sftp://user@host/folder or https://host"
            "; correct it"
        )
        raise UsageError(msg)
