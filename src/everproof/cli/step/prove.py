"""How a job proves itself to the server: by its platform's token, or by the session of this machine."""

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from everproof.cli.step.wire import Key, Wire
from everproof.kernel.errors import InputError, UnauthenticatedError, UnavailableError

GITHUB_URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"
GITHUB_TOKEN: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105 - a name, not a secret
VARIABLE: Final = "EVERPROOF_ID_TOKEN"
FILE: Final = "EVERPROOF_ID_TOKEN_FILE"
SERVER: Final = "EVERPROOF_SERVER"
CA: Final = "EVERPROOF_CA"
DEFAULT_SESSION: Final = ".config/everproof/session.json"

EXCHANGE: Final = (
    "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"
    "&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&subject_token="
)
MARGIN_SECONDS: Final = 30
"""A token that ends sooner might end on its way."""
MAX_TOKEN: Final = 64 * 1024
TIMEOUT_SECONDS: Final = 20

Ask = Callable[[], str]
"""Gives the platform's token, a fresh one where the platform gives several."""


class Place(NamedTuple):
    """Where the server is and how it is known."""

    server: str
    ca: str


class Job:
    """The job, as the server takes it: a key of its own and a token bound to it."""

    def __init__(self, wire: Wire, ca: str, key: Key, ask: Ask | None, *, token: str = "", expires: float = 0) -> None:
        self.wire = wire
        self.ca = ca
        self.key = key
        self._ask = ask
        self._token = token
        self._expires = expires

    def __repr__(self) -> str:
        return f"Job({self.wire.server})"

    def token(self) -> str:
        """A token that is good for a while, got anew where it is not.

        Raises:
            Error: it cannot be had.
        """
        if time.time() + MARGIN_SECONDS < self._expires:
            return self._token
        if self._ask is None:
            if time.time() < self._expires:
                return self._token
            raise UnauthenticatedError("your session is over", todo="run: everproof login")
        form = EXCHANGE + self._ask()
        answer = self.wire.request("POST", "/oauth/token", self.key, form=form)
        self._token, self._expires = answer["access_token"], time.time() + answer["expires_in"]
        return self._token

    def request(self, method: str, path: str, *, body: Any = None, key_proof: Key | None = None) -> dict[str, Any]:
        """One request as the job."""
        return self.wire.request(method, path, self.key, token=self.token(), body=body, key_proof=key_proof)


def find(environment: Mapping[str, str], *, proof: str, server: str, ca: str, audience: str) -> tuple[Job, str]:
    """The job of this machine, and the environment variable that proved it, if one did.

    Raises:
        InputError: nothing here proves a job, or nothing says where the server is.
    """
    kind, _, name = (_kind(environment) if proof == "auto" else proof).partition(":")
    if kind == "session":
        return _session(environment), ""
    place = _place(environment, server, ca)
    wire, key = Wire(place.server, place.ca), Key()
    if kind == "env" and name:
        token = environment.get(name, "")
        return Job(wire, place.ca, key, lambda: _checked(token, name)), name
    if kind == "file" and name:
        return Job(wire, place.ca, key, lambda: _checked(_read(name), name)), ""
    if kind == "github":
        if not (environment.get(GITHUB_URL) and environment.get(GITHUB_TOKEN)):
            todo = "add to the job: permissions: { id-token: write }"
            raise InputError("GitHub gives this job no token", place=GITHUB_URL, todo=todo)
        return Job(wire, place.ca, key, _github(environment, audience or place.server)), ""
    raise InputError("is auto, github, session, env:NAME or file:PATH", place="--proof")


def _kind(environment: Mapping[str, str]) -> str:
    if environment.get(VARIABLE):
        return f"env:{VARIABLE}"
    if environment.get(FILE):
        return f"file:{environment[FILE]}"
    return "github" if environment.get(GITHUB_URL) else "session"


def _place(environment: Mapping[str, str], server: str, ca: str) -> Place:
    address = server or environment.get(SERVER, "")
    if not address:
        raise InputError("say where the server is", place="--server", todo=f"add --server https://…, or set {SERVER}")
    authority = ca or environment.get(CA, "")
    if authority and "-----BEGIN" not in authority:
        authority = _read(authority)
    return Place(address.rstrip("/"), authority)


def _session(environment: Mapping[str, str]) -> Job:
    """The session that `everproof login` left; a machine's own is renewed by its key."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    file = environment.get("EVERPROOF_SESSION") or os.path.join(environment.get("HOME", ""), DEFAULT_SESSION)
    try:
        kept = json.loads(_read(file))
        private: Any = load_pem_private_key(kept["key"].encode(), None)
        ca = str(kept.get("ca", ""))
        wire = Wire(kept["server"], ca)
        token, expires = str(kept["token"]), float(kept["expires"])
    except MissingError as error:
        todo = "give the job a token of its platform, or run: everproof login"
        raise UnauthenticatedError("nothing here proves a job, and nobody has logged in", todo=todo) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot be read: {error}", place=file, todo="run: everproof login") from error
    return Job(wire, ca, Key(private), None, token=token, expires=expires)


def _github(environment: Mapping[str, str], audience: str) -> Ask:
    """Asks GitHub's runner for a token, a fresh one each time."""
    url, bearer = environment[GITHUB_URL], environment[GITHUB_TOKEN]
    trusted = {name: environment[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environment.get(name)}

    def ask() -> str:
        import ssl
        import urllib.request
        from urllib.parse import quote

        class NoRedirect(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_: Any) -> None:
                """Where the bearer was not meant to go, it does not go."""

        if not url.startswith("https://"):
            raise InputError("must begin with https://", place=GITHUB_URL)
        context = ssl.create_default_context(
            cafile=trusted.get("SSL_CERT_FILE"), capath=trusted.get("SSL_CERT_DIR")
        )  # the environment was wiped, which the library would have looked into
        whole = f"{url}{'&' if '?' in url else '?'}audience={quote(audience, safe='')}"
        request = urllib.request.Request(whole, headers={"authorization": f"bearer {bearer}"})  # noqa: S310 - https, see above
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), NoRedirect())
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                token = json.loads(response.read(MAX_TOKEN)).get("value", "")
        except (OSError, ValueError, AttributeError) as error:
            raise UnavailableError(f"GitHub gave no token: {type(error).__name__}", place=GITHUB_URL) from error
        return _checked(token, GITHUB_URL)

    return ask


class MissingError(InputError):
    """There is no such file."""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError as error:
        raise MissingError("there is no such file", place=path) from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {type(error).__name__}", place=path) from error


def _checked(token: object, place: str) -> str:
    """A token in the compact form (RFC 7519), which stands in a form's field as it is."""
    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN or token.count(".") != 2:  # noqa: PLR2004 - parts
        raise InputError("does not hold a token", place=place)
    if not all(one.isascii() and (one.isalnum() or one in "-_.") for one in token):
        raise InputError("does not hold a token", place=place)
    return token
