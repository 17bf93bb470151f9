"""The service without a network, and people who use it."""

import asyncio
import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
from argon2 import PasswordHasher

from mesems_mri.review.accounts import Passwords, ReaderRole, add_account
from mesems_mri.review.app import create_app
from mesems_mri.review.desk import Desk
from mesems_mri.review.events import MEANINGS
from mesems_mri.review.guard import Application
from mesems_mri.review.service import ServiceOptions
from mesems_mri.review.store import ReadingSettings, ReadingStore
from tests.unit.review.reading_study import ReadingStudy

FAST = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
PASSWORD = "correct horse {name}"
PEOPLE = {
    "anna": ReaderRole.READER,
    "ben": ReaderRole.READER,
    "carla": ReaderRole.READER,
    "judith": ReaderRole.ADJUDICATOR,
    "max": ReaderRole.MANAGER,
    "mona": ReaderRole.MANAGER,
    "otto": ReaderRole.AUDITOR,
}


class Browser:
    """One browser: its cookies, its token, and every byte it got."""

    def __init__(self, app: Application, host: str = "localhost") -> None:
        self.transport = httpx.ASGITransport(app)  # pyright: ignore
        self.host, self.csrf = host, ""
        self.cookies: dict[str, str] = {}
        self.seen: list[bytes] = []

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            base = f"http://{self.host}"
            async with httpx.AsyncClient(transport=self.transport, base_url=base) as client:
                client.cookies.update(self.cookies)
                return await client.request(method, path, **options)

        answer = asyncio.run(run())
        self.cookies.update(answer.cookies)
        self.seen.append("\n".join(f"{k}: {v}" for k, v in answer.headers.items()).encode())
        content = answer.content
        self.seen.append(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
        return answer

    def get(self, path: str) -> httpx.Response:
        return self.ask("GET", path)

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return self.ask("POST", path, json=body or {}, headers={"X-CSRF-Token": self.csrf} | headers)

    def sign_in(self, name: str, password: str | None = None) -> httpx.Response:
        given = PASSWORD.format(name=name) if password is None else password
        answer = self.post("/api/login", {"name": name, "password": given})
        if answer.status_code == 200:
            self.csrf = answer.json()["csrf"]
        self.name = name
        return answer

    def session(self) -> dict[str, Any]:
        found = self.get("/api/session").json()
        self.csrf = found["csrf"]
        return found

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return self.get("/api/tasks").json()["tasks"]

    def open(self, task_id: str) -> "Page":
        return Page(self, task_id)


class Page:
    """A read in the browser."""

    def __init__(self, browser: Browser, task_id: str) -> None:
        self.browser, self.path = browser, f"/api/tasks/{task_id}"
        self.load()

    def load(self) -> None:
        answer = self.browser.get(self.path)
        assert answer.status_code == 200, answer.text
        self.task = answer.json()
        self.findings = {f["finding_id"]: f for f in self.task["findings"]}

    def do(self, act: str, *, status: int = 200, **given: Any) -> Any:
        body = {"revision": self.task["revision"], "act": act} | given
        answer = self.browser.post(f"{self.path}/events", body)
        assert answer.status_code == status, answer.text
        found = answer.json()
        if status == 200:
            self.task |= {name: found[name] for name in ("revision", "can_undo", "segmentation", "parts")}
            self.task |= {"state": found["state"], "stage": found["stage"]}
            for key in found["removed"]:
                del self.findings[key]
            self.findings |= {f["finding_id"]: f for f in found["findings"]}
        return found

    def find(self, **wanted: Any) -> dict[str, Any]:
        found = [f for f in self.findings.values() if all(f[k] == v for k, v in wanted.items())]
        assert len(found) == 1, found
        return found[0]

    def decide_rest(self, decision: str = "accepted") -> None:
        for finding in list(self.findings.values()):
            if finding["needs_decision"] and finding["decision"] == "undecided":
                self.do("decide", finding_id=finding["finding_id"], decision=decision)

    def sign(self, status: int = 200) -> Any:
        name = getattr(self.browser, "name", "")
        meaning = MEANINGS[self.task["stage"]]
        return self.do("sign", status=status, meaning=meaning, password=PASSWORD.format(name=name))

    def image(self, name: str) -> nib.Nifti1Image:
        return self._nifti(f"{self.path}/images/{name}.nii.gz")

    def segmentation(self) -> np.ndarray:
        return np.asarray(self._nifti(self.task["segmentation"]["url"]).dataobj)

    def _nifti(self, url: str) -> nib.Nifti1Image:
        answer = self.browser.get(url)
        assert answer.status_code == 200, answer.text
        return nib.Nifti1Image.from_bytes(gzip.decompress(answer.content))


class Centre:
    """A reading centre over a study."""

    def __init__(
        self,
        study: ReadingStudy,
        database: str | Path,
        people: Mapping[str, ReaderRole] = PEOPLE,
        **options: Any,
    ) -> None:
        self.study = study
        self.store = ReadingStore(str(database))
        settings = ReadingSettings(study_id="MESEMS", out_dir=study.out_dir, seed=3, **options)
        self.store.create(settings, "admin")
        with self.store.writing() as connection:
            for name, role in people.items():
                add_account(connection, name, role, FAST.hash(PASSWORD.format(name=name)), "admin")
        self.restart()

    def restart(self) -> None:
        self.desk = Desk(self.store)
        options = ServiceOptions(hosts=("localhost",), secure=False)
        self.app = create_app(self.desk, options, Passwords(self.store, FAST))

    def browser(self, name: str | None = None) -> Browser:
        browser = Browser(self.app)
        if name:
            assert browser.sign_in(name).status_code == 200
        return browser

    def trail(self) -> list[str]:
        from mesems_mri.dataset import audit

        with self.store.reading() as connection:
            return list(audit.listing(connection))
