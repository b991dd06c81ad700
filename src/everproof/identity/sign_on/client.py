"""The relying party: the code flow with PKCE, and nothing else (RFC 9700; OpenID Connect Core 1.0, section 3.1)."""

import asyncio
import re
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import msgspec

from everproof.identity.jose import JoseError, read_object
from everproof.identity.jwks import IssuerKeys
from everproof.identity.outbound import Answer, Outbound, OutboundError
from everproof.identity.sign_on.attempts import AGAIN, Attempt
from everproof.identity.sign_on.client_authentication import ClientAuthentication
from everproof.identity.sign_on.errors import SignOnError
from everproof.identity.sign_on.files import Provider
from everproof.identity.sign_on.id_token import Assertion, IdTokens, completed
from everproof.identity.sign_on.metadata import PKCE, Discovery, Metadata
from everproof.kernel.clock import Clock

CALLBACK: Final = "/login/callback/"
"""Each provider answers at an address of its own, so an answer that went astray is seen by where it came."""
FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
OK: Final = 200
CREATED: Final = 201
MAX_CODE: Final = 4_096
MAX_PUSHING: Final = 16
"""Requests that are pushed at once: anybody may begin a sign-on, and those who come back are not to wait for them."""

_WORD: Final = re.compile(r"[a-z_]{1,64}")

Parameter = Annotated[str, msgspec.Meta(max_length=MAX_CODE)]


class Response(msgspec.Struct, frozen=True):
    """What a provider sends the browser back with (RFC 6749, section 4.1.2; RFC 9207). More counts for nothing."""

    state: Parameter = ""
    code: Parameter = ""
    iss: Parameter = ""
    error: Parameter = ""

    def __repr__(self) -> str:
        return "Response()"


class RelyingParty:
    """Asks providers, and verifies what they answer. ``server`` is this server's own address."""

    def __init__(self, outbound: Outbound, clock: Clock, authentication: ClientAuthentication, *, server: str) -> None:
        self._outbound = outbound
        self._clock = clock
        self._authentication = authentication
        self._server = server
        self.discovery = Discovery(outbound, clock)
        self.keys = IssuerKeys(outbound, clock)
        self._id_tokens = IdTokens(self.keys)
        self._pushing = asyncio.Semaphore(MAX_PUSHING)

    async def address(self, provider: Provider, attempt: Attempt) -> str:
        """Where to send the browser.

        Raises:
            OutboundError: the provider cannot be asked, or does not do what the file requires.
            UnavailableError: this client cannot prove itself to it now.
        """
        metadata = await self.discovery.of(provider)
        asked = self._asked(provider, attempt)
        if metadata.pushed_endpoint:
            asked = await self._push(provider, metadata, asked)
        elif provider.table.pushed_requests == "require":
            raise OutboundError("takes no pushed authorization requests", place=provider.issuer)
        return f"{metadata.authorization_endpoint}?{urlencode(asked)}"

    def redirect_uri(self, provider: Provider) -> str:
        """Where the provider sends the browser back to."""
        return f"{self._server}{CALLBACK}{provider.name}"

    def _asked(self, provider: Provider, attempt: Attempt) -> dict[str, str]:
        table = provider.table
        asked = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": self.redirect_uri(provider),
            "scope": " ".join(dict.fromkeys(("openid", "profile", "email", *table.scopes))),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": PKCE,
        }
        if attempt.max_age is not None:
            asked["max_age"] = str(attempt.max_age)
        if attempt.max_age == 0:
            asked["prompt"] = "login"
        if provider.kind.asks_by_claims and (attempt.max_age is not None or table.mfa.amr):
            asked["claims"] = '{"id_token":{"amr":null,"auth_time":{"essential":true}}}'
        if table.acr_values:
            asked["acr_values"] = " ".join(table.acr_values)
        if table.hosted_domains:  # a wish, so that the right account is offered; what counts is what the token says
            asked["hd"] = table.hosted_domains[0] if len(table.hosted_domains) == 1 else "*"
        return asked

    async def _push(self, provider: Provider, metadata: Metadata, asked: dict[str, str]) -> dict[str, str]:
        """Tell the provider the request itself (RFC 9126), so that the browser carries none of it."""
        url = metadata.pushed_endpoint
        async with self._pushing:
            answer = await self._send(provider, metadata, url, asked)
        document = _object(answer, url) if answer.status in {OK, CREATED} else {}
        name = document.get("request_uri")
        if type(name) is not str or not 0 < len(name) <= MAX_CODE:
            raise OutboundError(f"did not take the request: {_said(answer)}", place=url)
        return {"client_id": provider.client_id, "request_uri": name}

    async def redeem(self, provider: Provider, attempt: Attempt, response: Response) -> Assertion:
        """What the provider says of the person, for the code in ``response``, whose attempt was spent.

        Raises:
            SignOnError: it says something that does not hold.
            OutboundError: it cannot be asked.
            UnavailableError: this client cannot prove itself to it now.
        """
        metadata = await self.discovery.of(provider)
        form = {
            "grant_type": "authorization_code",
            "code": response.code,
            "redirect_uri": self.redirect_uri(provider),
            "code_verifier": attempt.verifier,
        }
        url = metadata.token_endpoint
        answer = await self._send(provider, metadata, url, form)
        if answer.status != OK:
            if answer.status >= 500:  # noqa: PLR2004
                raise OutboundError(f"answered {answer.status}", place=url)
            raise SignOnError(f"{provider.title} did not take the code: {_said(answer)}", place="code", todo=AGAIN)
        document = _object(answer, url)
        token, access_token = document.get("id_token"), document.get("access_token")
        if type(token) is not str or type(access_token) is not str:
            raise SignOnError("the provider's answer has no ID token and access token", place="id_token")
        try:
            said = await self._id_tokens.verify(
                token, provider, attempt, code=response.code, access_token=access_token, now=self._clock.now()
            )
            if provider.table.claims_from == "userinfo":
                said = completed(said, await self._user_info(metadata, provider, access_token))
        except JoseError as error:
            raise SignOnError(
                f"what {provider.title} says does not hold: {error.message}", place=f"id_token: {error.place}",
                todo=error.todo or AGAIN,
            ) from error  # fmt: skip
        else:
            return said

    async def _user_info(self, metadata: Metadata, provider: Provider, access_token: str) -> dict[str, Any]:
        url = metadata.userinfo_endpoint
        if not url:
            raise OutboundError("has no userinfo endpoint", place=provider.issuer)
        headers = {"accept": JSON, "authorization": f"Bearer {access_token}"}
        answer = await self._outbound.ask("GET", url, headers=headers)
        if answer.status != OK:
            raise OutboundError(f"answered {answer.status}", place=url)
        return _object(answer, url)

    async def require_iss(self, provider: Provider, response: Response) -> None:
        """Check who answers (RFC 9207): another provider's answer is never taken to this one.

        Raises:
            SignOnError: another does, or it does not say although it always does.
            OutboundError: whether it always does cannot be found out.
        """
        if response.iss:
            if response.iss != provider.issuer:
                raise SignOnError("another provider has answered than the one that was asked", place="iss", todo=AGAIN)
        elif (await self.discovery.of(provider)).names_itself:
            raise SignOnError(f"{provider.title} names itself in its answers, and this one does not", place="iss")

    async def end_session_endpoint(self, provider: Provider) -> str:
        """Where people sign out at the provider; empty where it names no such place."""
        return (await self.discovery.of(provider)).end_session_endpoint

    async def _send(self, provider: Provider, metadata: Metadata, url: str, form: dict[str, str]) -> Answer:
        headers, fields = self._authentication.of(provider, metadata)
        body = urlencode(form | fields).encode()
        return await self._outbound.ask(
            "POST", url, headers={"accept": JSON, "content-type": FORM, **headers}, body=body
        )


def _object(answer: Answer, url: str) -> dict[str, Any]:
    if answer.media != JSON:
        raise OutboundError(f"answered with {answer.media[:64] or 'nothing'}, not with JSON", place=url)
    try:
        return read_object(answer.body, url)
    except JoseError as error:
        raise OutboundError(f"answered what is {error.message}", place=url) from error


def _said(answer: Answer) -> str:
    """The error that a provider names, in its own short word; nothing else of what it says is shown to anybody."""
    try:
        word = read_object(answer.body, "answer").get("error")
    except JoseError:
        word = None
    return word if type(word) is str and _WORD.fullmatch(word) else f"status {answer.status}"
