"""Sign-on as code: `.everproof/sign-on/NAME.toml`, one file for each provider, read strictly.

    provider = "okta"
    issuer = "https://acme.okta.com"
    client_id = "0oa1b2c3d4"

    [groups.map]
    "Engineering" = "developers"

No secret ever stands in it: it is in git. The server's settings say where a client's secret lies.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from everproof.identity.jose import Algorithm
from everproof.identity.names import group_id, principal_id, shown_name
from everproof.identity.outbound import https_url
from everproof.identity.records import MAIN
from everproof.identity.sign_on.kinds import ProviderKind, ProviderKinds
from everproof.identity.templates import Template, template
from everproof.kernel.errors import InputError
from everproof.kernel.toml import parse_toml

FOLDER: Final = "sign-on/"
SUFFIX: Final = ".toml"
RESERVED: Final = frozenset({"callback", "everproof", "passkey", "provider", "ssh-key", "totp"})
"""Words that addresses and sessions use for something else."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_DOMAIN: Final = re.compile(r"(?=.{1,253}$)[a-z0-9-]+(\.[a-z0-9-]+)+")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")

Text = Annotated[str, Meta(min_length=1, max_length=512)]
Texts = Annotated[tuple[Text, ...], Meta(max_length=64)]


class GroupsTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the provider's groups are which of ours. What is not in ``map`` is nobody's business here.

    Where the provider does not say somebody's groups, they are not signed on (``refuse``), or ``keep`` what they had.
    """

    claim: Text = "groups"
    map: dict[Text, str]
    unknown: Literal["refuse", "keep"] = "refuse"


class FirstSignOn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who signs on for the first time and is linked with nobody is put on record, named by a template over claims.

    ``email_domains``: an address in one of these, if the provider has verified it, is one that they may commit as.
    """

    id: Text
    groups: tuple[str, ...] = ()
    space: str = MAIN
    email_domains: tuple[str, ...] = ()


class MfaTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By which of these the provider says that a second factor was shown."""

    amr: Texts = ()
    acr: Texts = ()


class ProviderTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sign-on file."""

    provider: str
    client_id: Text
    title: str = ""
    issuer: str = ""
    tenant: str = ""
    hosted_domains: tuple[str, ...] = ()
    authentication: Literal["client-secret", "private-key-jwt"] = "client-secret"
    scopes: Texts = ()
    pushed_requests: Literal["where-offered", "require"] = "where-offered"
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1)] = ("RS256", "ES256", "EdDSA")
    max_age_seconds: Annotated[int, Meta(ge=60, le=30 * 24 * 3600)] | None = None
    acr_values: Texts = ()
    claims_from: Literal["id-token", "userinfo"] = "id-token"
    groups: GroupsTable | None = None
    first_sign_on: FirstSignOn | None = None
    people: dict[Text, str] = {}
    """Whom the provider's subjects are, where the file itself says so."""
    provisioner: str = ""
    """The SCIM client that provisions this provider's people: it says a subject as somebody's ``externalId``."""
    mfa: MfaTable = MfaTable()


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that people may sign on with. ``name`` is that of its file."""

    name: str
    title: str
    kind: ProviderKind
    issuer: str
    table: ProviderTable
    new_id: Template | None

    @property
    def client_id(self) -> str:
        """What the provider calls this server."""
        return self.table.client_id

    @property
    def max_age(self) -> timedelta | None:
        """How long ago the provider may have authenticated somebody."""
        seconds = self.table.max_age_seconds
        return None if seconds is None else timedelta(seconds=seconds)

    @property
    def own_groups(self) -> frozenset[str]:
        """The groups of ours that this provider alone puts people into and takes them out of."""
        return frozenset(self.table.groups.map.values()) if self.table.groups is not None else frozenset()


def read_sign_on(files: Mapping[str, bytes], kinds: ProviderKinds) -> dict[str, Provider]:
    """The providers that a bundle's files name.

    Raises:
        InputError: a file cannot be read, or says what would not be safe; with its place.
    """
    found: dict[str, Provider] = {}
    clients: dict[tuple[str, str], str] = {}
    for path in sorted(files):
        if not path.startswith(FOLDER):
            continue
        provider = _read(path, files[path], kinds)
        other = clients.setdefault((provider.issuer, provider.client_id), path)
        if other != path:
            raise InputError(f"{other} is for the same client of the same issuer", place=path)
        found[provider.name] = provider
    return found


def _read(path: str, content: bytes, kinds: ProviderKinds) -> Provider:
    name = path.removeprefix(FOLDER).removesuffix(SUFFIX)
    if not path.endswith(SUFFIX) or _NAME.fullmatch(name) is None or name in RESERVED:
        raise InputError(
            "a sign-on file is called NAME.toml, its name of a-z, 0-9 and -, and none that is taken",
            place=path, todo="call it for example sign-on/okta.toml",
        )  # fmt: skip
    try:
        table = parse_toml(content.decode(), ProviderTable, place=path)
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8", place=path) from error
    kind = kinds.named(table.provider, place=f"{path}: provider")
    _require_own_fields(table, kind, path)
    issuer = kind.issuer(table, place=path)
    https_url(issuer, place=f"{path}: issuer")
    _require_words(table, path)
    _require_sayable(table, kind, path)
    if table.groups is not None:
        if not table.groups.map:
            raise InputError("maps no group", place=f"{path}: groups.map")
        for given, ours in table.groups.map.items():
            group_id(ours, place=f'{path}: groups.map."{given}"')
    for subject, user in table.people.items():
        principal_id(user, place=f'{path}: people."{subject}"')
    if len(set(table.people.values())) < len(table.people):
        raise InputError("two subjects are one person", place=f"{path}: people")
    first = table.first_sign_on
    return Provider(
        name=name,
        title=shown_name(table.title or kind.title, place=f"{path}: title"),
        kind=kind,
        issuer=issuer,
        table=table,
        new_id=None if first is None else _read_first(first, table, path),
    )


def _read_first(first: FirstSignOn, table: ProviderTable, path: str) -> Template:
    place = f"{path}: first_sign_on"
    found = template(first.id, place=f"{place}.id")
    if not found.claims:
        raise InputError("everyone would have this id", place=f"{place}.id", todo='write "{preferred_username}"')
    for group in first.groups:
        if table.groups is not None and group in table.groups.map.values():
            raise InputError(
                f"whether somebody is in {group}, the provider says at each sign-on", place=f"{place}.groups"
            )
        group_id(group, place=f"{place}.groups")
    principal_id(first.space, place=f"{place}.space")
    for domain in first.email_domains:
        if _DOMAIN.fullmatch(domain) is None:
            raise InputError("not a domain in lower case", place=f"{place}.email_domains")
    return found


def _require_own_fields(table: ProviderTable, kind: ProviderKind, path: str) -> None:
    for field, value in (("tenant", table.tenant), ("hosted_domains", table.hosted_domains)):
        if value and field not in kind.fields:
            raise InputError(f'means nothing to provider = "{kind.name}"', place=f"{path}: {field}")
        if not value and field in kind.fields:
            raise InputError(
                f'provider = "{kind.name}" needs it: strangers have accounts there too', place=f"{path}: {field}"
            )


def _require_words(table: ProviderTable, path: str) -> None:
    for field, words in (("scopes", table.scopes), ("acr_values", table.acr_values)):
        for word in words:
            if _SCOPE.fullmatch(word) is None:
                raise InputError("each is a word without spaces, quotes and backslashes", place=f"{path}: {field}")
    if not table.client_id.isascii() or not table.client_id.isprintable():
        raise InputError("must be plain ASCII", place=f"{path}: client_id")
    if "offline_access" in table.scopes:
        raise InputError(
            "nothing here keeps a provider's tokens", place=f"{path}: scopes", todo="leave offline_access out"
        )
    for domain in table.hosted_domains:
        if _DOMAIN.fullmatch(domain) is None:
            raise InputError("not a domain in lower case", place=f"{path}: hosted_domains")


def _require_sayable(table: ProviderTable, kind: ProviderKind, path: str) -> None:
    if table.groups is not None and not kind.says_groups:
        todo = "leave [groups] out; have the groups provisioned by SCIM or written in people.toml"
        raise InputError(f"the tokens of {kind.title} say nothing of groups", place=f"{path}: groups", todo=todo)
