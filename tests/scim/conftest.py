import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.types import ASGIApp

from everproof.app import Everproof
from everproof.identity import roster
from everproof.identity.provisioners import new_secret, provisioner_jwk
from everproof.kernel.settings import Settings
from everproof.kernel.words import Ref
from everproof.server.application import application
from everproof.storage import Transaction
from tests.conftest import SettableClock
from tests.server.asgi import Answer, call

URL = "https://everproof.example"
BASE = f"{URL}/scim/v2"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class Directory:
    """A company's directory: what it sends, byte for byte, with its secret."""

    def __init__(self, doors: ASGIApp, secret: str) -> None:
        self.doors = doors
        self.secret = secret

    async def send(
        self,
        method: str,
        path: str,
        body: object = b"",
        *,
        query: dict[str, Any] | str = "",
        media: str = "application/scim+json",
        **headers: str,
    ) -> Answer:
        given = {"authorization": f"Bearer {self.secret}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        if body != b"":
            given["content-type"] = media
        if isinstance(query, dict):
            query = urlencode(query)
        return await call(self.doors, method, f"/scim/v2{path}", body, given, query=query)

    async def create(self, user_name: str, **more: Any) -> dict[str, Any]:
        answer = await self.send("POST", "/Users", {"schemas": [USER], "userName": user_name, **more})
        assert answer.status == 201, answer.body
        found: dict[str, Any] = answer.json
        return found

    async def group(self, name: str, *members: str) -> dict[str, Any]:
        body = {"schemas": [GROUP], "displayName": name, "members": [{"value": one} for one in members]}
        answer = await self.send("POST", "/Groups", body)
        assert answer.status == 201, answer.body
        found: dict[str, Any] = answer.json
        return found

    async def patch(self, place: str, *operations: dict[str, Any], **headers: str) -> Answer:
        return await self.send("PATCH", place, {"schemas": [PATCH], "Operations": list(operations)}, **headers)

    async def get(self, place: str, **query: Any) -> dict[str, Any]:
        answer = await self.send("GET", place, query=query)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found

    async def found(self, filter_: str, place: str = "/Users") -> list[str]:
        """The names of what a filter finds."""
        listed = await self.get(place, filter=filter_)
        assert listed["totalResults"] == len(listed["Resources"])
        return [one.get("userName") or one["displayName"] for one in listed["Resources"]]


class Site:
    """A whole server in this process, and directories that provision it."""

    def __init__(self, app: Everproof, clock: SettableClock) -> None:
        self.app = app
        self.clock = clock
        self.doors = application(app)

    async def directory(
        self, name: str = "corp", *groups: str, dialect: str = "", provisions: bool = True
    ) -> Directory:
        secret = new_secret()

        def add(tx: Transaction) -> None:
            roster.register_client(
                tx, Ref("Service", name), [provisioner_jwk(secret)],
                groups=(*(("provisioners",) if provisions else ()), *groups),
                attributes={"dialect": dialect} if dialect else {},
            )  # fmt: skip

        await self.app.storage.write(add)
        return Directory(self.doors, secret)

    def entries(self) -> list[dict[str, Any]]:
        """Every decision of the ledger."""
        found = self.app.ledger.tail(-1, 10_000)
        return [json.loads(bytes(one.entry.body)) for one in found if one.entry and one.entry.kind == "decision"]


@asynccontextmanager
async def running(database: str, folder: Path) -> AsyncIterator[Site]:
    """A started site; it ends with its context."""
    clock = SettableClock()
    clock.time = datetime.now(UTC)
    app = Everproof(Settings(state=folder / "state", database=database, url=URL), clock=clock)
    await app.start()
    try:
        yield Site(app, clock)
    finally:
        await app.stop()


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with running(database_url, tmp_path) as one:
        yield one


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[Site]:
    """A site on the quicker of the two databases, for what does not depend on it."""
    async with running(f"sqlite:///{tmp_path / 'everproof.db'}", tmp_path) as one:
        yield one
