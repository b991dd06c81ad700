"""Attacks on tokens of repositories, and on whoever makes them."""

import asyncio
import json
import threading
from datetime import timedelta
from typing import Any

import pytest

from everproof.secrets import repository_tokens
from tests.fakes.gitlab_api import User
from tests.fakes.https import Asked, Said
from tests.secrets.conftest import PAT, Site
from tests.server.asgi import Answer


def reason(answer: Answer) -> str:
    said: dict[str, Any] = answer.json
    return f"{said.get('code')}: {said.get('detail')}"


async def test_a_build_job_that_asks_to_write_is_refused(site: Site) -> None:
    job = await site.job()
    for permissions in ({"contents": "write"}, {"contents": "read", "packages": "write"}):
        answer = await site.ask(job, permissions=permissions)
        assert answer.status == 403
    assert site.github.made == 0


async def test_a_release_job_gets_its_one_write_and_no_other(site: Site) -> None:
    job = await site.job(workflow="release")
    for permissions in ({"packages": "write"}, {"contents": "write", "issues": "write"}, {"administration": "write"}):
        assert (await site.ask(job, permissions=permissions)).status == 403
    assert (await site.ask(job, permissions={"contents": "admin"})).status in {400, 422}
    assert site.github.made == 0


async def test_a_release_job_on_a_branch_that_is_not_protected_is_refused(site: Site) -> None:
    job = await site.job(workflow="release", ref_protected="false")
    assert (await site.ask(job, permissions={"contents": "write"})).status == 403


async def test_another_repository_of_the_installation_is_refused(site: Site) -> None:
    job = await site.job()
    assert (await site.ask(job, repository="75")).status == 403
    assert site.github.made == 0


async def test_the_same_number_at_another_platform_is_another_repository(site: Site) -> None:
    """A job of GitLab's project 20 is nobody in GitHub's repository 20."""
    site.github.installations[7].repositories[20] = "acme/other"
    job = await site.gitlab_job()
    answer = await site.ask(job, host="github", repository="20")
    assert answer.status == 403
    assert site.github.made == 0


async def test_a_repository_by_anything_but_its_number_is_refused(site: Site) -> None:
    job = await site.job()
    for repository in ("acme/shop", "0", "-1", "74/../../app", "074", "٧٤", "74?x", "9" * 20):
        assert (await site.ask(job, repository=repository)).status in {400, 403, 422}, repository
    assert site.github.asked == []


async def test_a_platform_that_gives_more_permissions_than_asked_is_refused_and_its_token_ended(site: Site) -> None:
    site.github.generous = {"administration": "write"}
    job = await site.job()
    answer = await site.ask(job)
    assert answer.status == 403
    assert "administration:write" in reason(answer)
    assert "ghs_" not in answer.body.decode()
    await site.settled()
    assert site.github.tokens == {}
    assert [one["outcome"] for one in site.entries("repository-token")] == ["refused", "ended"]


async def test_a_platform_that_gives_more_repositories_than_asked_is_refused_and_its_token_ended(site: Site) -> None:
    site.github.wide = [75]
    answer = await site.ask(await site.job())
    assert "other repositories" in reason(answer)
    await site.settled()
    assert site.github.tokens == {}


async def test_a_gitlab_that_gives_more_than_asked_is_refused_and_its_token_ended(site: Site) -> None:
    for generous, told in (
        ({"scopes": ["api", "read_repository"]}, "scopes api"),
        ({"access_level": 40}, "access level 40"),
        ({"expires_at": "2999-01-01"}, "a longer life"),
        ({"expires_at": None}, "a longer life"),
    ):
        site.gitlab.generous = generous
        answer = await site.ask(await site.gitlab_job())
        assert answer.status == 403
        assert told in reason(answer)
        await site.settled()
        assert all(one.revoked for one in site.gitlab.tokens.values())


async def test_a_platform_that_is_down_gives_nothing_and_says_why(site: Site) -> None:
    site.github.down = site.gitlab.down = True
    for job, name in ((await site.job(), "GitHub"), (await site.gitlab_job(), "GitLab")):
        answer = await site.ask(job)
        assert answer.status == 502
        assert f"{name} answered" in reason(answer)
    failed = site.entries("repository-token")
    assert [one["outcome"] for one in failed] == ["failed", "failed"]
    assert all("answered" in one["reason"] for one in failed)
    assert not any(site.app.identity.credentials.is_live(one["credential"]) for one in failed)


async def test_what_the_platform_refuses_is_said_and_leaves_nothing_behind(site: Site) -> None:
    job = await site.job()
    site.github.installations[7].suspended = True
    assert "suspended" in reason(await site.ask(job))
    site.github.installations[7].suspended = False
    del site.github.installations[7].repositories[74]
    assert "not accessible" in reason(await site.ask(job))
    site.gitlab.users[PAT] = User({20: 30})
    assert "permission" in reason(await site.ask(await site.gitlab_job()))
    await site.settled()
    assert site.app.work.jobs(states=("waiting",), verb="secrets.end-repository-token") != []
    assert [one["outcome"] for one in site.entries("repository-token")] == ["failed"] * 3


async def test_a_token_whose_answer_was_lost_is_found_and_ended(site: Site) -> None:
    site.gitlab.lost = True
    assert (await site.ask(await site.gitlab_job())).status == 502
    await site.settled()
    assert [one.revoked for one in site.gitlab.tokens.values()] == [True]


async def test_a_token_that_nobody_can_end_is_waited_for(site: Site) -> None:
    """GitHub ends a token only for who has it: where its answer was lost, its own end is waited for, in the open."""
    site.github.down = True
    await site.ask(await site.job())
    await site.settled()
    site.github.down = False
    waiting = [one for one in site.app.work.jobs(verb="secrets.end-repository-token") if one.state == "waiting"]
    assert any("ends by itself" in one.error for one in waiting)
    site.clock.advance(timedelta(minutes=62))
    await site.settled()
    assert not [one for one in site.app.work.jobs(verb="secrets.end-repository-token") if one.state == "waiting"]


async def test_the_end_of_a_token_is_tried_until_the_platform_says_it(site: Site) -> None:
    github, gitlab = await site.job(), await site.gitlab_job()
    await site.token(github)
    await site.token(gitlab)
    site.github.down = site.gitlab.down = True
    await site.revoke(github.credential)  # type: ignore[attr-defined]
    await site.revoke(gitlab.credential)  # type: ignore[attr-defined]
    assert len(site.github.tokens) == 1
    site.github.down = site.gitlab.down = False
    site.clock.advance(timedelta(minutes=11))
    await site.settled()
    assert site.github.tokens == {}
    assert [one.revoked for one in site.gitlab.tokens.values()] == [True]


async def test_a_credential_revoked_while_the_platform_makes_its_token_gets_none(site: Site) -> None:
    job = await site.job()
    loop = asyncio.get_running_loop()

    async def revoke() -> None:
        credential = job.credential  # type: ignore[attr-defined]
        await site.app.storage.write(lambda tx: site.app.identity.credentials.revoke(tx, credential, "stolen"))

    def revoked() -> None:
        asyncio.run_coroutine_threadsafe(revoke(), loop).result(10)

    site.github.before_answer = revoked
    answer = await site.ask(job)
    assert answer.status == 403
    assert "revoked meanwhile" in reason(answer)
    await site.settled()
    assert site.github.made == 1
    assert site.github.tokens == {}


async def test_a_token_outlives_neither_the_credential_nor_what_it_was_asked_for(site: Site) -> None:
    job = await site.job(lifetime=120)
    token = await site.token(job, lifetime_seconds=3600)
    found = site.app.identity.credentials.live(token["credential"])
    parent = site.app.identity.credentials.live(job.credential)  # type: ignore[attr-defined]
    assert found is not None
    assert parent is not None
    assert found.expires <= parent.expires
    site.clock.advance(timedelta(seconds=121))
    await site.settled()
    assert site.github.tokens == {}
    assert (await site.ask(job, lifetime_seconds=3601)).status in {400, 422}


async def test_a_revoked_job_gets_no_token(site: Site) -> None:
    job = await site.job()
    await site.revoke(job.credential)  # type: ignore[attr-defined]
    assert (await site.ask(job)).status == 401
    assert site.github.asked == []


async def test_containment_reaches_the_platform(site: Site) -> None:
    job = await site.job()
    token = await site.token(job)
    with site.app.storage.reading() as connection:
        [errand] = site.app.repository_tokens.reach(connection, [token["credential"]])
    assert errand.told == "end the token of github:74 (contents:read)"
    await site.app.storage.write(lambda tx: site.app.work.send(tx, errand))
    await site.settled()
    assert site.github.tokens == {}


async def test_what_the_feed_did_not_tell_is_found(site: Site) -> None:
    """As when the server that heard of it died: the next look at all that is open finds it."""
    job = await site.job()
    await site.token(job)
    site.app.repository_tokens._mine.clear()
    await site.revoke(job.credential)  # type: ignore[attr-defined]
    assert len(site.github.tokens) == 1
    site.clock.advance(timedelta(seconds=70))
    await site.settled()
    assert site.github.tokens == {}


async def test_a_gitlab_that_hides_the_project_has_ended_nothing(site: Site) -> None:
    """404 is what it says of a dead token, and of a project that our own token may not see any more."""
    job = await site.gitlab_job()
    await site.token(job)
    user = site.gitlab.users[PAT]
    site.gitlab.users[PAT] = User({})
    await site.revoke(job.credential)  # type: ignore[attr-defined]
    assert [one["outcome"] for one in site.entries("repository-token")] == ["issued"]
    site.gitlab.users[PAT] = user
    site.clock.advance(timedelta(minutes=11))
    await site.settled()
    assert [one.revoked for one in site.gitlab.tokens.values()] == [True]


async def test_no_secret_is_logged_recorded_or_kept_in_the_open(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    token = (await site.token(await site.job()))["token"]
    other = (await site.token(await site.gitlab_job()))["token"]
    site.github.down = True
    await site.ask(await site.job())
    said = capfd.readouterr()
    bodies = json.dumps([site.entries(kind) for kind in ("decision", "repository-token")])
    database = b"".join(file.read_bytes() for file in site.app.settings.state.glob("everproof.db*"))
    for secret in (token, other, PAT):
        assert secret not in said.out + said.err + bodies
        assert secret.encode() not in database
    for asked in (*site.github.asked, *site.gitlab.asked):
        assert token not in asked.path + asked.query


async def test_a_job_that_asks_in_a_loop_is_refused_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository_tokens, "MOST", 3)
    job, other = await site.job(), await site.job()
    for _ in range(3):
        await site.token(job, lifetime_seconds=30)
    answer = await site.ask(job)
    assert answer.status == 403
    assert "3 tokens live" in reason(answer)
    await site.token(other)
    site.clock.advance(timedelta(seconds=31))
    await site.settled()
    await site.token(job)


async def test_a_caller_that_goes_away_leaves_no_token(site: Site) -> None:
    job = await site.gitlab_job()
    asked, waiting = threading.Event(), threading.Event()
    answer = site.gitlab.answer

    def slowly(request: Asked) -> Said:
        said = answer(request)
        if request.method == "POST":
            asked.set()
            waiting.wait(10)
        return said

    site.gitlab.answer = slowly  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(site.ask(job))
    await asyncio.to_thread(asked.wait, 10)
    task.cancel()
    waiting.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await site.settled()
    assert [one.revoked for one in site.gitlab.tokens.values()] == [True]


async def test_a_platform_that_calls_its_token_dead_does_not_keep_it_alive(site: Site) -> None:
    job = await site.gitlab_job()
    site.gitlab.generous = {"expires_at": "2001-01-01"}
    await site.token(job)
    await site.revoke(job.credential)  # type: ignore[attr-defined]
    assert [one.revoked for one in site.gitlab.tokens.values()] == [True]


async def test_a_token_that_would_say_more_to_git_is_refused(site: Site) -> None:
    site.gitlab.generous = {"token": "x\nhost=mallory.example"}
    answer = await site.ask(await site.gitlab_job())
    assert answer.status == 502
    assert "mallory" not in answer.body.decode()
    await site.settled()
    assert [one.revoked for one in site.gitlab.tokens.values()] == [True]
