"""Nobody sees what is not theirs, and nothing that is sent does what it should not."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from mesems_mri.errors import UsageError
from mesems_mri.review import schema
from mesems_mri.review.accounts import Passwords, ReaderRole, add_account, revoke_account
from mesems_mri.review.app import create_app
from mesems_mri.review.centre import adjudicate, assign
from mesems_mri.review.service import ServiceOptions
from mesems_mri.review.store import tasks
from tests.unit.review.reading_study import SECRETS, ReadingStudy
from tests.unit.review.service import FAST, PASSWORD, Browser, Centre
from tests.unit.review.test_centre import VISIT, read_visit, readers_of

SCRIPT = "<script>alert(1)</script>"
GIB = 2**30


@pytest.fixture(scope="module")
def centre(study: ReadingStudy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """A centre in which one visit is in adjudication."""
    centre = Centre(study, tmp_path_factory.mktemp("centre") / "reading.db", re_read_percent=25)
    assign(centre.desk, None, "admin")
    for n, (name, task_id) in enumerate(readers_of(centre)):
        read_visit(centre.browser(name), task_id, reject_gel=n == 0)
    adjudicate(centre.desk, None, "admin")
    yield centre
    centre.store.close()


def task_of(centre: Centre, reader: str) -> str:
    with centre.store.reading() as connection:
        return next(task.task_id for task in tasks(connection, reader=reader) if task.state == "open")


def refusals(centre: Centre, name: str) -> int:
    return sum(f"  {name}  access.refused  " in line for line in centre.trail())


def test_reader_gets_403_for_all_that_is_not_his_and_the_trail_knows(centre: Centre) -> None:
    anna = centre.browser("anna")
    image = "images/current_FLAIR.nii.gz"
    asked = 0
    for other in ("ben", "carla", "judith"):
        path = f"/api/tasks/{task_of(centre, other)}"
        body = {"revision": 0, "act": "undo"}
        for answer in (
            anna.get(path),
            anna.get(f"{path}/{image}"),
            anna.get(f"{path}/segmentation.nii.gz"),
            anna.post(f"{path}/events", body),
            anna.post(f"{path}/grow", {"kind": "t2", "at": [1, 1, 1]}),
        ):
            assert answer.status_code == 403
            asked += 1
    for path in ("/manage", "/audit"):
        assert anna.get(path).status_code == 403
        asked += 1
    assert anna.ask("POST", "/manage", content="action=lock").status_code == 403
    assert refusals(centre, "anna") == asked + 1


@pytest.mark.parametrize("name", ["judith", "max", "otto"])
def test_other_roles_do_not_read(centre: Centre, name: str) -> None:
    before = refusals(centre, name)
    browser = centre.browser(name)
    assert browser.get(f"/api/tasks/{task_of(centre, 'anna')}").status_code == 403
    assert refusals(centre, name) == before + 1
    allowed = {"judith": (403, 403), "max": (200, 200), "otto": (403, 200)}[name]
    assert tuple(browser.get(path).status_code for path in ("/manage", "/audit")) == allowed


def test_nobody_without_a_session(centre: Centre) -> None:
    browser = centre.browser()
    task = task_of(centre, "anna")
    for path in (
        "/api/tasks",
        f"/api/tasks/{task}",
        f"/api/tasks/{task}/segmentation.nii.gz",
        "/manage",
        "/audit",
    ):
        assert browser.get(path).status_code == 401
    assert browser.post(f"/api/tasks/{task}/events", {}).status_code == 401
    assert browser.get("/api/session").json()["signed_in"] is False


def test_every_byte_of_a_session_is_blinded(study: ReadingStudy, tmp_path: Path) -> None:
    centre = Centre(study, tmp_path / "r.db", re_read_percent=25)
    assign(centre.desk, None, "admin")
    anna = centre.browser("anna")
    for task in anna.tasks:
        page = anna.open(task["task_id"])
        for image in page.task["images"]:
            page.image(image["name"])
        page.segmentation()
        anna.post(f"{page.path}/grow", {"kind": "t2", "at": [20, 20, 20]})
        page.do("decide", status=400, finding_id="f99", decision="accepted")
        page.decide_rest()
        page.sign()
        page.do("undo", status=409)
        anna.get(f"{page.path}/images/other.nii.gz")
    anna.get("/api/tasks")
    others = ("ben", "carla", "judith", "admin", str(study.out_dir), "automatic", "locked")
    everything = b"\n".join(anna.seen)
    found = [word for word in (*SECRETS, *others) if word.encode() in everything]
    assert found == []
    assert len(anna.seen) > 40
    centre.store.close()


def test_search_of_the_bytes_finds_something(centre: Centre) -> None:
    manager = centre.browser("max")
    manager.get("/manage")
    assert all(word.encode() in b"".join(manager.seen) for word in ("sub-001", "ses-w04", "ben"))


def test_adjudicator_does_not_learn_who_read(centre: Centre) -> None:
    judge = centre.browser("judith")
    (task,) = judge.tasks
    judge.open(task["task_id"])
    everything = b"\n".join(judge.seen)
    assert [w for w in (*SECRETS, "anna", "ben", "carla") if w.encode() in everything] == []


def test_order_can_be_hidden(study: ReadingStudy, tmp_path: Path) -> None:
    centre = Centre(study, tmp_path / "r.db", re_read_percent=0, order_hidden=True)
    assign(centre.desk, None, "admin")
    anna = centre.browser("anna")
    labels = [task["label"] for task in anna.tasks]
    assert labels == [f"Case {n:03}" for n in range(1, len(labels) + 1)]  # no two visits of one
    for task in anna.tasks:
        page = anna.open(task["task_id"])
        assert {image["visit"] for image in page.task["images"]} == {"current"}
    centre.store.close()


def test_limit_of_tries(study: ReadingStudy, tmp_path: Path) -> None:
    centre = Centre(study, tmp_path / "r.db")
    browser = centre.browser()
    codes = [browser.sign_in("anna", "wrong password").status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]
    assert browser.sign_in("anna").status_code == 429  # the right password does not help
    assert browser.sign_in("ben").status_code == 200
    with centre.store.writing() as connection:
        connection.execute(update(schema.account).values(blocked_until="2020-01-01T00:00:00Z"))
    assert browser.sign_in("anna").status_code == 200
    trail = "\n".join(centre.trail())
    assert "account.blocked" in trail
    assert "wrong password" not in trail
    for _ in range(60):
        last = browser.sign_in("nobody", "wrong password").status_code
    assert last == 429
    assert "nobody" not in "\n".join(centre.trail())
    centre.store.close()


@pytest.mark.parametrize(("column", "minutes"), [("seen_at", 21), ("created_at", 60 * 12 + 1)])
def test_sessions_end(study: ReadingStudy, tmp_path: Path, column: str, minutes: int) -> None:
    centre = Centre(study, tmp_path / "r.db")
    anna = centre.browser("anna")
    assert anna.get("/api/tasks").status_code == 200
    past = (dt.datetime.now(tz=dt.UTC) - dt.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    with centre.store.writing() as connection:
        connection.execute(update(schema.session).values({column: past}))
    assert anna.get("/api/tasks").status_code == 401
    again = centre.browser("anna")
    with centre.store.writing() as connection:
        revoke_account(connection, "anna", "admin")
    assert again.get("/api/tasks").status_code == 401
    assert centre.browser().sign_in("anna").status_code == 401
    centre.store.close()


def test_signing_out_ends_the_session(centre: Centre) -> None:
    anna = centre.browser("anna")
    cookies = dict(anna.cookies)
    assert anna.post("/api/logout").status_code == 200
    anna.cookies = cookies
    assert anna.get("/api/tasks").status_code == 401


def test_cookie_and_headers(centre: Centre) -> None:
    app = create_app(centre.desk, ServiceOptions(hosts=("localhost",)))
    answer = Browser(app).sign_in("anna")
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "secure"))
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_request_without_the_token_changes_nothing(centre: Centre) -> None:
    anna = centre.browser("anna")
    task = task_of(centre, "anna")
    anna.csrf = ""
    assert anna.post(f"/api/tasks/{task}/events", {"revision": 0, "act": "undo"}).status_code == 403
    anna.session()
    other = {"Origin": "https://elsewhere.example"}
    assert anna.post(f"/api/tasks/{task}/events", {}, **other).status_code == 403
    login = {"name": "anna", "password": PASSWORD.format(name="anna")}
    assert anna.post("/api/login", login, **other).status_code == 403


def test_signature_needs_the_password(centre: Centre) -> None:
    anna = centre.browser("anna")
    page = anna.open(task_of(centre, "anna"))
    page.decide_rest()
    anna.name = "somebody else"
    page.sign(status=401)
    assert page.task["state"] != "signed"


def test_large_bodies_are_refused(centre: Centre) -> None:
    anna = centre.browser("anna")
    path = f"/api/tasks/{task_of(centre, 'anna')}/events"
    headers = {"X-CSRF-Token": anna.csrf, "Content-Type": "application/json"}
    announced = anna.ask("POST", path, content=b"{}", headers=headers | {"Content-Length": str(GIB)})
    assert announced.status_code == 413

    async def endless() -> Any:
        for _ in range(64):
            yield b" " * 2**20

    assert anna.ask("POST", path, content=endless(), headers=headers).status_code == 413
    assert anna.post("/api/login", {"name": "x" * 20_000, "password": ""}).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"act": "open"},
        {"act": "reopen", "revision": 1},
        {"act": "rerun", "revision": 1},
        {"act": "decide"},
        {"act": "decide", "finding_id": SCRIPT, "decision": "accepted"},
        {"act": "decide", "finding_id": "f1", "decision": SCRIPT},
        {"act": "comment", "finding_id": "f1", "code": SCRIPT},
        {"act": "comment", "finding_id": "f1", "code": "faint", "text": SCRIPT},
        {"act": "not_evaluable", "part": "gel", "reason": SCRIPT},
        {"act": "sign", "meaning": SCRIPT, "password": "x"},
        {"act": "add", "preview_id": "../../etc/passwd", "kind": "t2"},
        {"act": "add", "preview_id": "0123456789abcdef", "kind": "t2"},
        {"act": "edit", "finding_id": "f1", "voxels": []},
        {"act": "edit", "finding_id": "f1", "voxels": [[-5, 3]]},
        {"act": "edit", "finding_id": "f1", "voxels": [[0, 2**30]]},
        {"act": "edit", "finding_id": "f1", "voxels": [[0, 40**3 + 1]]},
        {"act": "edit", "finding_id": "f1", "voxels": [[0, 5], [3, 5]]},
        {"act": "edit", "finding_id": "f1", "voxels": "AAAA"},
        {"act": "merge", "finding_ids": ["f1"] * 101},
        [1, 2, 3],
        "decide",
    ],
    ids=str,
)
def test_nonsense_is_refused_in_one_sentence(centre: Centre, body: Any) -> None:
    anna = centre.browser("anna")
    page = anna.open(task_of(centre, "anna"))
    if isinstance(body, dict):
        body = {"revision": page.task["revision"]} | body
    answer = anna.ask("POST", f"{page.path}/events", json=body, headers={"X-CSRF-Token": anna.csrf})
    assert answer.status_code == 400
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    assert SCRIPT not in detail
    page.load()
    assert page.task["revision"] == 1


@pytest.mark.parametrize(
    "path",
    [
        "/api/tasks/{task}/images/..%2f..%2f..%2fvisit_metrics.nii.gz",
        "/api/tasks/{task}/images/sub-001_ses-w04_space-subject_desc-preproc_FLAIR.nii.gz",
        "/api/tasks/{task}/images/../../../../etc/passwd",
        "/api/tasks/%2e%2e/segmentation.nii.gz",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/review/app.py",
        "/docs",
        "/openapi.json",
    ],
)
def test_path_tricks_find_nothing(centre: Centre, path: str) -> None:
    anna = centre.browser("anna")
    answer = anna.get(path.format(task=task_of(centre, "anna")))
    assert answer.status_code == 404
    assert b"mesems" not in answer.content


def test_outline_of_another_task_is_not_taken(centre: Centre) -> None:
    anna, ben = centre.browser("anna"), centre.browser("ben")
    foreign = ben.open(task_of(centre, "ben"))
    grown = ben.post(f"{foreign.path}/grow", {"kind": "t2", "at": [12, 12, 12]}).json()
    page = anna.open(task_of(centre, "anna"))
    page.do("add", status=400, preview_id=grown["preview_id"], kind="t2")


@pytest.mark.parametrize("name", ["", "A", "a b", "anna'--", SCRIPT, "single", "x" * 40, "../anna"])
def test_names_are_names(centre: Centre, name: str) -> None:
    with pytest.raises(UsageError, match="is no name"), centre.store.writing() as connection:
        add_account(connection, name, ReaderRole.READER, FAST.hash("x"), "admin")


def test_short_password_is_refused(centre: Centre) -> None:
    with pytest.raises(UsageError, match="expected 10 to 200"):
        Passwords(centre.store, FAST).hash("short")


def test_texts_are_escaped_on_the_pages(study: ReadingStudy, tmp_path: Path) -> None:
    centre = Centre(study, tmp_path / "r.db", re_read_percent=0)
    assign(centre.desk, None, "admin")
    for name, task_id in readers_of(centre):
        read_visit(centre.browser(name), task_id)
    manager = centre.browser("max")

    def send(action: str, **more: str) -> Any:
        form = {"csrf": manager.csrf, "action": action, "participant": VISIT[0], "session": VISIT[1]}
        form |= {"password": PASSWORD.format(name="max")}
        return manager.ask("POST", "/manage", data=form | more)

    assert send("lock", password="wrong password").status_code == 401
    assert send("lock", csrf="x").status_code == 403
    try:
        assert send("lock").status_code == 303
        assert "locked v001" in manager.get("/manage").text
        assert send("unlock", reason=SCRIPT).status_code == 303
        assert "expected another person" in send("confirm").text
        pages = manager.get("/manage").text + manager.get("/audit").text
        other = centre.browser("mona")
        form = {"csrf": other.csrf, "action": "confirm", "participant": VISIT[0], "session": VISIT[1]}
        form |= {"password": PASSWORD.format(name="mona")}
        assert other.ask("POST", "/manage", data=form).status_code == 303
        assert "assigned: " in other.get("/manage").text
        assert "locked v001" not in other.get("/manage").text
        assert SCRIPT not in pages
        assert "&lt;script&gt;" in pages
    finally:
        from mesems_mri.review.publish import withdraw

        withdraw(study.layout, VISIT)  # the study is shared
        study.write()
    centre.store.close()
