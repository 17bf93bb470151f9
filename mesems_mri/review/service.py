"""Session, role and token of a request, checked before anything is done."""

import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from mesems_mri.review.accounts import Passwords, Person, ReaderRole, session_of
from mesems_mri.review.centre import note
from mesems_mri.review.desk import Desk
from mesems_mri.review.guard import BODY_BYTES
from mesems_mri.review.store import Task, find_task

COOKIE = "reading"
_READING_ROLES = (ReaderRole.READER, ReaderRole.ADJUDICATOR)


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """Options of the service.

    Parameters
    ----------
    hosts : tuple of str
        Names under which it is reached; empty: any.
    secure : bool
        The browser sends the cookie over TLS only.
    body_bytes : int
        Largest body of a request.
    """

    hosts: tuple[str, ...] = ()
    secure: bool = True
    body_bytes: int = BODY_BYTES


@dataclass(frozen=True)
class Service:
    """Parts that the routes share.

    Parameters
    ----------
    desk : Desk
    passwords : Passwords
    options : ServiceOptions
    single : Person or None
        The one user where there are no accounts.
    """

    desk: Desk
    passwords: Passwords
    options: ServiceOptions
    single: Person | None

    async def person(self, request: Request) -> Person:
        """Return who asks.

        Raises
        ------
        HTTPException
            401 if nobody is signed in; 403 if a request that changes something lacks the session's token.
        """
        person = await self.who(request)
        if person is None:
            raise HTTPException(401, "nobody is signed in; sign in")
        if request.method != "GET":
            self.check_origin(request)
            given = request.headers.get("x-csrf-token", "")
            if not secrets.compare_digest(given.encode(), person.csrf.encode()):
                raise HTTPException(403, "the token of the session is missing or stale; load the page again")
        return person

    async def who(self, request: Request) -> Person | None:
        """Return who asks, None if nobody is signed in."""
        if self.single:
            return self.single
        token = request.cookies.get(COOKIE, "")
        return await run_in_threadpool(session_of, self.desk.store, token) if token else None

    async def allowed(self, request: Request, *roles: str) -> Person:
        """Return who asks, if the role may.

        Raises
        ------
        HTTPException
            403, with an entry in the trail.
        """
        person = await self.person(request)
        if person.role not in roles:
            await self.refused(request, person)
        return person

    async def refused(self, request: Request, person: Person) -> None:
        """Write in the trail that somebody asked for what is not theirs, and refuse.

        Raises
        ------
        HTTPException
            403 in any case.
        """
        details = {"method": request.method, "role": str(person.role)}
        path = request.url.path
        await run_in_threadpool(note, self.desk, person.name, "access.refused", path, details)
        raise HTTPException(403, "this is not yours to see; it was noted that it was asked for")

    def check_origin(self, request: Request) -> None:
        """Refuse a request that another site made the browser send.

        Raises
        ------
        HTTPException
            403.
        """
        origin = request.headers.get("origin")
        if origin and urlsplit(origin).netloc != request.headers.get("host"):
            raise HTTPException(403, "the request comes from another site")

    async def task(self, request: Request, task_id: str) -> tuple[Person, Task]:
        """Return who asks and the task asked for, if it is theirs.

        Raises
        ------
        HTTPException
            404 if there is no such task; 403 if it is another one's, with an entry in the trail.
        """
        person = await self.person(request)
        task = await run_in_threadpool(self._find, task_id)
        if self.single is None and person.role not in _READING_ROLES:
            await self.refused(request, person)
        if task is None:
            raise HTTPException(404, "there is no such task")
        if task.reader != person.name:
            await self.refused(request, person)
        return person, task

    def _find(self, task_id: str) -> Task | None:
        with self.desk.store.reading() as connection:
            return find_task(connection, task_id)
