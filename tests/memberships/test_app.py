"""An organisation that is kept by a GitHub App, rather than by an owner's token."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from everproof.identity.outbound import Outbound
from everproof.integrations.answers import AnsweredError
from everproof.integrations.github.app import AppKey, InstallationToken
from everproof.integrations.organisations import PERMISSIONS, organisations
from everproof.integrations.secret_source import SecretSource
from everproof.kernel import settings
from everproof.kernel.errors import InputError
from tests.conftest import SettableClock
from tests.fakes.github_app import GitHubApp, Installation
from tests.fakes.https import serving


async def test_the_apps_token_is_narrow_and_renewed_before_its_end(tmp_path: Path, clock: SettableClock) -> None:
    app = GitHubApp(clock=clock.now, installations={7: Installation({}, {**PERMISSIONS, "contents": "write"})})
    key = tmp_path / "app.pem"
    key.touch(0o600)
    key.write_bytes(app.pem)
    source = SecretSource(f"file:{key}", place="organisations.acme.secret")
    with serving(app, tmp_path) as served:
        outbound = Outbound(ca_file=served.ca_file, private_hosts=("127.0.0.1",))
        proof = AppKey(source, app.client_id, now=clock.now, place="acme")
        token = InstallationToken(proof, outbound, served.url, 7, PERMISSIONS, now=clock.now, place="acme")
        first = await token.headers()
        assert [one.permissions for one in app.tokens.values()] == [{**PERMISSIONS, "metadata": "read"}]
        clock.advance(timedelta(minutes=54))
        assert await token.headers() == first
        clock.advance(timedelta(minutes=2))
        assert (await token.headers())["authorization"] != first["authorization"]
        app.installations[7].suspended = True
        clock.advance(timedelta(hours=1))
        with pytest.raises(AnsweredError, match="403 to its App"):
            await token.headers()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"login": ""}, "names no organisation"), ({"api": "http://x"}, "https"), ({"secret": "ghp_x"}, "file:PATH")],
)
def test_what_names_no_organisation_is_refused_at_the_start(
    clock: SettableClock, changes: dict[str, str], said: str
) -> None:
    good = settings.OrganisationHost(platform="github", secret="env:TOKEN", login="acme")
    with pytest.raises(InputError, match=said) as refused:
        organisations({"acme": msgspec.structs.replace(good, **changes)}, settings.Outbound(), clock.now)
    assert "ghp_x" not in str(refused.value)
