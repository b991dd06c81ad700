"""Who is there, what they may do, and what they sign in to."""

from typing import Any
from urllib.parse import urlencode

from playwright._impl._api_structures import SetCookieParam

from everproof.identity import roster
from everproof.identity.sessions import Beginning, Session
from everproof.kernel.words import Ref
from everproof.server.browser import NAME, Browser
from everproof.storage import Transaction
from tests.console.site import Site

CLIENTS = """\
[clients.deploys]
title = "Deploys"
url = "{beyond}"
redirect_uris = ["{beyond}/callback"]
authentication = "none"
factor_max_age_seconds = 300
"""

ACCESS = """\
[[rule]]
actions = ["identity:sign-in"]
resources = ['Client::"deploys"']
requesters = ["developers"]
owners = ['Group::"release"']
longest = "2h"
"""

POLICY = """\
@id("deploys/granted")
@title("Developers sign in to Deploys while a grant lasts")
@advice("ask the release group for it")
permit (
    principal in Group::"developers",
    action == Action::"identity:sign-in",
    resource == Client::"deploys"
)
when { context has granted && context.granted };
"""


def files(beyond: str) -> dict[str, bytes]:
    """What is added to the starter."""
    clients = CLIENTS.format(beyond=beyond)
    return {"clients.toml": clients.encode(), "access.toml": ACCESS.encode(), "policies/deploys.cedar": POLICY.encode()}


PEOPLE = {"alice": ("developers",), "bob": ("release",), "carol": ("developers",)}


async def people(site: Site) -> None:
    """Put everyone on record."""

    def change(tx: Transaction) -> None:
        for id_, groups in PEOPLE.items():
            roster.add_principal(tx, Ref("User", id_), name=id_.title(), groups=groups)

    await site.app.storage.write(change)


async def newcomer(site: Site, id_: str, *groups: str) -> Ref:
    """One more person."""
    ref = Ref("User", id_)
    await site.app.storage.write(lambda tx: roster.add_principal(tx, ref, name=id_.title(), groups=groups))
    return ref


async def signed_on(site: Site, id_: str, **changes: Any) -> tuple[Session, SetCookieParam]:
    """A session that somebody has begun at their provider, and its cookie as a browser keeps it."""
    key = site.app.signing.derived("everproof/sessions/v1")
    cookies = Browser(site.app.identity.sessions, site.app.storage.clock, issuer=site.url, key=key)
    beginning = Beginning(
        **{
            "principal": Ref("User", id_),
            "kind": "browser",
            "provider": "okta",
            "authenticated": site.app.storage.clock.now(),
            **changes,
        }
    )
    session, cookie = await site.app.storage.write(lambda tx: cookies.begin(tx, beginning))
    value = cookie.partition(";")[0].removeprefix(f"{NAME}=")
    kept: SetCookieParam = {"name": NAME, "value": value, "url": site.url, "secure": True, "httpOnly": True}
    return session, kept


def asking(site: Site, client: str = "deploys", **changes: str) -> str:
    """The path that a client sends browsers to."""
    fields = {
        "response_type": "code", "client_id": client, "redirect_uri": f"{site.beyond}/callback",
        "scope": "openid profile groups",
        "state": "s-1", "nonce": "n-1", "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256", **changes,
    }  # fmt: skip
    return f"/oauth/authorize?{urlencode(fields)}"
