"""The room on each of the two databases, and what it finds after its server has died."""

import contextlib
from datetime import timedelta
from typing import Any

import pytest

from everproof.app import Everproof
from everproof.kernel.settings import Settings
from everproof.secrets import Access
from tests.secrets.conftest import Site


class DiedError(Exception):
    """The server, at the worst moment."""


@pytest.fixture
def database(database_url: str) -> str:
    return database_url


async def test_tokens_are_made_and_end_on_either_database(site: Site) -> None:
    github, gitlab = await site.job(), await site.gitlab_job()
    await site.token(github)
    await site.token(gitlab)
    await site.revoke(github.credential)  # type: ignore[attr-defined]
    assert site.github.tokens == {}
    site.clock.advance(timedelta(seconds=601))
    await site.settled()
    assert [one.revoked for one in site.gitlab.tokens.values()] == [True]
    assert [one["outcome"] for one in site.entries("repository-token")] == ["issued", "issued", "ended", "ended"]


async def test_a_token_that_was_made_while_the_server_died_is_found_and_ended(site: Site, settings: Settings) -> None:
    """The platform has made it, and nothing of that was written: the next server knows that it was asked for."""
    job = await site.gitlab_job()
    authorize = site.app.authorizer.authorize

    async def dies(*given: Any, **more: Any) -> None:
        await authorize(*given, **more)
        raise DiedError

    site.app.authorizer.authorize = dies  # type: ignore[method-assign,assignment]
    with contextlib.suppress(DiedError):
        await site.ask(job)
    [kept] = [one for one, _ in site.app.repository_tokens._open()]
    host = site.app.repository_tokens.host("gitlab")
    await host.mint(
        Access("gitlab", "20", {"contents": "read"}),
        name=f"everproof {kept}",
        ends=site.clock.now() + timedelta(seconds=600),
    )
    await site.app.stop()
    site.clock.advance(timedelta(seconds=601))
    site.app = Everproof(settings, clock=site.clock)
    await site.app.start()
    await site.settled()
    assert [one.revoked for one in site.gitlab.tokens.values()] == [True]
