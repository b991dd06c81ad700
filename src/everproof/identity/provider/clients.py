"""The clients that people sign in to by way of us: `.everproof/clients.toml` of the ruling bundle, read strictly.

No secret stands in it: of a client's secret the file has the SHA-256, which is enough for one that is random.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from everproof.identity.client_assertion import ClientKey
from everproof.identity.jose import JoseError
from everproof.identity.jwk import read_published_key
from everproof.identity.names import group_id, shown_name
from everproof.identity.outbound import https_url
from everproof.identity.provider.redirects import redirect_uri
from everproof.kernel.errors import InputError
from everproof.kernel.toml import parse_toml
from everproof.kernel.words import MAIN_SPACE, Principal, Ref, Resource
from everproof.keys import TokenAlgorithm, thumbprint

FILE_NAME: Final = "clients.toml"

SELF: Final = "everproof"
"""This server's own pages: what `identity:sign-in` is asked about when somebody signs in here."""
CLI: Final = "everproof-cli"
"""The command line, built in: public, on any port of this machine's loopback, and asked about each time."""
CLI_PATH: Final = "/callback"

SCOPES: Final = ("openid", "profile", "email", "groups")

Method: TypeAlias = Literal["private_key_jwt", "client_secret_basic", "client_secret_post", "none"]
Uri: TypeAlias = Annotated[str, Meta(min_length=8, max_length=1024)]
Uris: TypeAlias = Annotated[tuple[Uri, ...], Meta(max_length=32)]

_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One client as the file says it.

    ``groups`` are whose members may sign in (empty: policy alone says who), ``tells_groups`` those that the client is
    told of (empty: all that a person is in). ``first_party``: the organisation's own, so nobody is asked for consent.
    """

    title: str = ""
    url: str = ""
    redirect_uris: Uris = ()
    authentication: Method
    secret_sha256: Annotated[tuple[str, ...], Meta(max_length=2)] = ()
    keys: Annotated[tuple[dict[str, Any], ...], Meta(max_length=8)] = ()
    algorithm: TokenAlgorithm = "RS256"
    scopes: Annotated[tuple[Literal["openid", "profile", "email", "groups"], ...], Meta(max_length=4)] = SCOPES
    groups: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    tells_groups: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    first_party: bool = False
    factor_max_age_seconds: Annotated[int, Meta(ge=0, le=86_400)] | None = None
    id_token_seconds: Annotated[int, Meta(ge=60, le=3600)] = 600
    device: bool = False
    post_logout_redirect_uris: Uris = ()
    backchannel_logout_uri: str = ""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file: ``[clients.grafana]``, each read as a `Line`."""

    clients: dict[str, dict[str, Any]] = {}


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A client that may ask who somebody is. ``own``: it is part of this server, and gets tokens for it."""

    id: str
    line: Line
    own: bool = False

    @property
    def title(self) -> str:
        """What people know it by."""
        return self.line.title or self.id

    @property
    def public(self) -> bool:
        """Whether it can keep no secret."""
        return self.line.authentication == "none"

    @property
    def asks_consent(self) -> bool:
        """Whether its users are asked. Of the command line they always are: anyone's program can begin its login."""
        return not self.line.first_party

    def takes(self, uri: str) -> bool:
        """Whether answers may go to ``uri``: letter by letter, and nothing is made the same first (RFC 9700, 2.1)."""
        if self.id == CLI:
            return _LOOPBACK.fullmatch(uri) is not None and 0 < int(uri.rsplit(":", 1)[1].partition("/")[0]) < _PORTS
        return uri in self.line.redirect_uris

    @property
    def resource(self) -> Resource:
        """The client as what somebody signs in to."""
        line = self.line
        attributes: dict[str, Any] = {
            "name": self.title,
            "own": self.own,
            "first_party": line.first_party,
            "public": self.public,
        }
        if line.url:
            attributes["url"] = line.url
        if line.groups:
            attributes["groups"] = [{"__entity": {"type": "Group", "id": one}} for one in line.groups]
        if line.factor_max_age_seconds is not None:
            attributes["factor_max_age"] = line.factor_max_age_seconds
        return Resource(ref=Ref("Client", self.id), attributes=attributes, parents=(MAIN_SPACE,))


_PORTS: Final = 65_536
_LOOPBACK: Final = re.compile(rf"http://(?:127\.0\.0\.1|\[::1\]):[1-9][0-9]{{0,4}}{CLI_PATH}")

BUILT_IN: Final = {
    SELF: Client(id=SELF, own=True, line=Line(title="Everproof", authentication="none", scopes=(), first_party=True)),
    CLI: Client(
        id=CLI,
        own=True,
        line=Line(title="Everproof's command line", authentication="none", scopes=(), algorithm="ES256", device=True),
    ),
}
SIGN_IN_HERE: Final = BUILT_IN[SELF].resource


def clients_of(files: Mapping[str, bytes]) -> dict[str, Client]:
    """The clients of a bundle's files, and those that are built in.

    Raises:
        InputError: not TOML, an unknown field, an address that is none, or a client that could not prove itself; with
            its place.
    """
    try:
        text = files.get(FILE_NAME, b"").decode()
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8", place=FILE_NAME) from error
    found = dict(BUILT_IN)
    for id_, given in parse_toml(text, File, place=FILE_NAME).clients.items():
        line = _line(given, f"{FILE_NAME}: clients.{id_}")
        _require_sound(id_, line, f"{FILE_NAME}: clients.{id_}")
        found[id_] = Client(id=id_, line=line)
    return found


def _line(given: dict[str, Any], where: str) -> Line:
    try:
        return msgspec.convert(given, Line)
    except msgspec.ValidationError as error:
        what, _, field = str(error).partition(" - at `$")
        raise InputError(what, place=f"{where}{field.rstrip('`')}") from error


def _require_sound(id_: str, line: Line, where: str) -> None:
    if _ID.fullmatch(id_) is None:
        raise InputError("a client's id has small letters, digits, dots and dashes", place=where)
    if id_ in BUILT_IN:
        raise InputError("the client is built in", place=where, todo="give yours another id")
    shown_name(line.title, place=f"{where}.title")
    if line.url:
        https_url(line.url, place=f"{where}.url")
    if not line.redirect_uris and not line.device:
        raise InputError("there is no address to answer to", place=f"{where}.redirect_uris")
    for name in ("redirect_uris", "post_logout_redirect_uris"):
        for number, uri in enumerate(getattr(line, name)):
            redirect_uri(uri, place=f"{where}.{name}[{number}]")
    if line.backchannel_logout_uri:
        https_url(line.backchannel_logout_uri, place=f"{where}.backchannel_logout_uri")
    for one in (*line.groups, *line.tells_groups):
        group_id(one, place=f"{where}.groups")
    if "openid" not in line.scopes:
        raise InputError("openid must be among them", place=f"{where}.scopes")
    _require_authentication(line, where)


def _require_authentication(line: Line, where: str) -> None:
    secret = line.authentication.startswith("client_secret")
    if secret != bool(line.secret_sha256):
        todo = "openssl rand -hex 32 makes a secret; printf %s SECRET | sha256sum gives its SHA-256"
        raise InputError(f"{line.authentication} and a secret go together", place=f"{where}.secret_sha256", todo=todo)
    if any(_SHA256.fullmatch(one) is None for one in line.secret_sha256):
        raise InputError("must be SHA-256, as 64 small hexadecimal digits", place=f"{where}.secret_sha256")
    if (line.authentication == "private_key_jwt") != bool(line.keys):
        raise InputError(f"{line.authentication} and keys go together", place=f"{where}.keys")
    for number, jwk in enumerate(line.keys):
        try:
            read_published_key(jwk)
        except JoseError as error:
            raise InputError(error.message, place=f"{where}.keys[{number}]", todo=error.todo) from error


class Clients:
    """The clients of the ruling bundle."""

    def __init__(self) -> None:
        self._all: Mapping[str, Client] = BUILT_IN
        self._keys: dict[str, tuple[ClientKey, ...]] = {}

    def follow(self, clients: Mapping[str, Client]) -> None:
        """Let these be the clients from now on."""
        self._keys = {id_: _keys(client) for id_, client in clients.items()}
        self._all = clients

    def find(self, id_: str) -> Client | None:
        """The client, unless nobody is asked who somebody is by that name."""
        return None if id_ == SELF else self._all.get(id_)

    def client(self, client_id: str) -> tuple[Principal, Sequence[ClientKey]] | None:
        """The client with its keys, as who makes an assertion."""
        found = self.find(client_id)
        return None if found is None else (Principal(ref=found.resource.ref), self._keys.get(client_id, ()))


def _keys(client: Client) -> tuple[ClientKey, ...]:
    return tuple(ClientKey(thumbprint(jwk), read_published_key(jwk)) for jwk in client.line.keys)
