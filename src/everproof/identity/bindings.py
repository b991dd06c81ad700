"""Trust bindings: which tokens of which issuer make which principal. One TOML file for each issuer.

    [issuer]
    url = "https://token.actions.githubusercontent.com"
    type = "github"
    audience = "https://everproof.example"

    [[binding]]
    name = "payments"
    id = "github/{repository_id}/{job_workflow_ref}"
    groups = ["builders"]
    claims = { repository_owner_id = "65", repository_id = "74", ref = "refs/heads/main" }

What cannot be read trusts nobody: one bad file refuses them all.
"""

import difflib
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

import msgspec
from cryptography import x509

from everproof.identity.certificate_trust import (
    NO_AUDIENCE,
    SPIFFE,
    X509,
    TrustDomainSource,
    read_authority,
    read_trust_domain,
)
from everproof.identity.claims import REGISTERED, Classes
from everproof.identity.conditions import Condition, condition, text_of
from everproof.identity.issuers import IssuerKind, IssuerKinds
from everproof.identity.jose import Algorithm, JoseError
from everproof.identity.outbound import https_url
from everproof.identity.templates import Template, template
from everproof.identity.trust_tables import BindingTable, IssuerTable, TrustFile
from everproof.kernel.errors import InputError
from everproof.kernel.toml import parse_toml
from everproof.kernel.words import Attributes, Principal, Ref

FOLDER: Final = "trust/"
_OF: Final = {"Service": frozenset({"issuer", "subject", "spiffe_id"}), "Machine": frozenset[str]()}
"""What an issuer tells of a service or machine; the rest of what it tells is about a job."""


class Binding(msgspec.Struct, frozen=True):
    """A binding, ready to be asked."""

    name: str
    conditions: Mapping[str, Condition]
    type: str
    id: Template
    attributes: tuple[tuple[str, Template | bool], ...]
    parents: tuple[Ref, ...]
    space: str
    classes: Classes

    def first_failure(self, claims: Mapping[str, Any]) -> str | None:
        """The name of a claim that is not as wanted, or None if the token fits."""
        for name, wanted in self.conditions.items():
            if not wanted.fits(claims.get(name)):
                return name
        return None

    def principal(self, claims: Mapping[str, Any], attributes: Attributes) -> Principal:
        """The principal that these claims make.

        Raises:
            JoseError: a claim that a template needs is missing.
        """
        own = {name: one if isinstance(one, bool) else one.fill(claims) for name, one in self.attributes}
        if (known := _OF.get(self.type)) is not None:
            attributes = {name: value for name, value in attributes.items() if name in known}
        return Principal(
            ref=Ref(self.type, self.id.fill(claims)), attributes={**attributes, **own}, parents=self.parents
        )


class TrustedIssuer(msgspec.Struct, frozen=True):
    """An issuer and its bindings."""

    url: str
    kind: IssuerKind
    audience: str
    algorithms: frozenset[Algorithm]
    max_age: timedelta
    indexed: Mapping[str, tuple[Binding, ...]]
    others: tuple[Binding, ...]

    def bind(self, claims: Mapping[str, Any]) -> Binding:
        """The one binding that these verified claims fit.

        Raises:
            JoseError: none, or more than one. Wanted values are named only to a token that has the right indexed id:
                a stranger learns nothing of what is trusted.
        """
        index = self.kind.index
        near = self.indexed.get(text_of(claims.get(index)) or "", ())
        fitting = [one for one in (*near, *self.others) if one.first_failure(claims) is None]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            names = " and ".join(repr(one.name) for one in fitting)
            todo = "give them conditions that no token fits together"
            raise JoseError(f"the trust bindings {names} both fit this token", place="trust", todo=todo)
        if not near:
            raise JoseError(
                f"no trust binding fits this token, whose {index} is {claims.get(index)!r}",
                place=f"claims.{index}",
                todo="add a binding for it to .everproof/trust/, or use the job that is trusted",
            )
        reasons = []
        for one in near:
            name = one.first_failure(claims)
            if name is not None:
                reasons.append(f"{one.name!r} wants {name} to be {one.conditions[name]}, it is {claims.get(name)!r}")
        raise JoseError("no trust binding fits this token: " + "; ".join(reasons), place="trust")


class TrustDomain(msgspec.Struct, frozen=True):
    """A SPIFFE trust domain and its bindings."""

    source: TrustDomainSource
    issuer: TrustedIssuer


class Authority(msgspec.Struct, frozen=True):
    """An organisation's own certificate authority and its bindings."""

    name: str
    authorities: tuple[x509.Certificate, ...]
    issuer: TrustedIssuer


class TrustBindings:
    """All issuers that are trusted: of tokens by address, of certificates by trust domain or as authorities."""

    def __init__(
        self,
        issuers: Mapping[str, TrustedIssuer],
        domains: Mapping[str, TrustDomain] | None = None,
        authorities: tuple[Authority, ...] = (),
    ) -> None:
        self._issuers = issuers
        self.domains = domains or {}
        self.authorities = authorities

    @property
    def urls(self) -> frozenset[str]:
        """The issuers."""
        return frozenset(self._issuers)

    def knows(self, url: object) -> bool:
        """Whether the issuer at ``url`` is trusted for tokens."""
        return isinstance(url, str) and url in self._issuers

    def issuer(self, url: object) -> TrustedIssuer:
        """The issuer at exactly ``url``.

        Raises:
            JoseError: it is not trusted.
        """
        found = self._issuers.get(url) if isinstance(url, str) else None
        if found is None:
            raise JoseError(
                "its issuer is not trusted here", place="claims.iss", todo="add a file for it to .everproof/trust/"
            )
        return found


NOBODY: Final = TrustBindings({})


def load_bindings(files: Mapping[str, bytes], kinds: IssuerKinds) -> TrustBindings:
    """The bindings in a bundle's files: those named ``trust/NAME.toml``.

    Raises:
        InputError: one of them cannot be read or would trust strangers; with file and field.
    """
    found = _Found({}, {}, {})
    names: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    for path in sorted(files):
        if not path.startswith(FOLDER) or not path.endswith(".toml"):
            continue
        try:
            text = files[path].decode()
        except UnicodeDecodeError as error:
            raise InputError("not UTF-8", place=path) from error
        file = parse_toml(text, TrustFile, place=path)
        issuer = _read(file, files, kinds, found, path)
        for table in file.binding:
            if table.name in names:
                raise InputError(f"{names[table.name]} has a binding of this name", place=f"{path}: {table.name}")
            names[table.name] = path
        _require_own_names(issuer, prefixes, path)
    return TrustBindings(found.issuers, found.domains, tuple(found.authorities.values()))


class _Found(NamedTuple):
    """What has been read."""

    issuers: dict[str, TrustedIssuer]
    domains: dict[str, TrustDomain]
    authorities: dict[str, Authority]


def _read(file: TrustFile, files: Mapping[str, bytes], kinds: IssuerKinds, found: _Found, path: str) -> TrustedIssuer:
    if [file.issuer, file.spiffe, file.x509].count(None) != 2:  # noqa: PLR2004 - one of three
        raise InputError("must have one of the tables [issuer], [spiffe] and [x509]", place=path)
    if file.issuer is not None:
        if file.issuer.url in found.issuers:
            raise InputError("another file has this issuer already", place=f"{path}: issuer.url")
        issuer = found.issuers[file.issuer.url] = _trusted(file.issuer, file.binding, kinds, path)
    elif file.spiffe is not None:
        source = read_trust_domain(file.spiffe, files, place=f"{path}: spiffe")
        if source.name in found.domains:
            raise InputError("another file has this trust domain already", place=f"{path}: spiffe.trust_domain")
        audience = source.audience or NO_AUDIENCE
        issuer = _vouching(f"spiffe://{source.name}", audience, SPIFFE, file.binding, path)
        found.domains[source.name] = TrustDomain(source, issuer)
    else:
        assert file.x509 is not None
        name = file.x509.name
        if name in found.authorities:
            raise InputError("another file has an authority of this name", place=f"{path}: x509.name")
        issuer = _vouching(f"x509:{name}", NO_AUDIENCE, X509, file.binding, path)
        found.authorities[name] = Authority(name, read_authority(file.x509, files, place=f"{path}: x509"), issuer)
    return issuer


def _vouching(url: str, audience: str, kind: IssuerKind, tables: tuple[BindingTable, ...], path: str) -> TrustedIssuer:
    """Who vouches by certificates: what it names never collides with what an administrator has enrolled."""
    for one in tables:
        if one.principal == "Job":
            raise InputError(
                "a certificate makes a Service or a Machine", place=f"{path}: binding {one.name}: principal"
            )
        if "/" not in one.id.partition("{")[0]:
            raise InputError(
                "must begin with a word of its own and a slash", place=f"{path}: binding {one.name}: id",
                todo=f'write for example "partner/{{{kind.index}}}"',
            )  # fmt: skip
    made = tuple(msgspec.structs.replace(one, principal=one.principal or "Service") for one in tables)
    return _compiled(IssuerTable(url=url, audience=audience, type=kind.name), made, kind, path)


def _require_own_names(issuer: TrustedIssuer, prefixes: dict[str, str], path: str) -> None:
    """Two issuers never name one principal: neither could tell for whom the other vouches."""
    for one in {
        binding.name: binding for found in (*issuer.indexed.values(), issuer.others) for binding in found
    }.values():
        for prefix, url in prefixes.items():
            if url != issuer.url and (one.id.prefix.startswith(prefix) or prefix.startswith(one.id.prefix)):
                raise InputError(
                    f"begins like the principals of {url}", place=f"{path}: binding {one.name}: id",
                    todo="begin the ids of each issuer with a word of its own",
                )  # fmt: skip
        prefixes[one.id.prefix] = issuer.url


def _trusted(table: IssuerTable, bindings: tuple[BindingTable, ...], kinds: IssuerKinds, path: str) -> TrustedIssuer:
    https_url(table.url, place=f"{path}: issuer.url")
    kind = kinds.named(table.type, place=f"{path}: issuer.type")
    kind.check_issuer(table.url, table.audience, place=f"{path}: issuer")
    return _compiled(table, bindings, kind, path)


def _compiled(table: IssuerTable, bindings: tuple[BindingTable, ...], kind: IssuerKind, path: str) -> TrustedIssuer:
    tenant = dict.fromkeys((*kind.tenant_claims(table.url), *table.tenant_claims))
    indexed: defaultdict[str, list[Binding]] = defaultdict(list)
    others = []
    for one in bindings:
        binding = _binding(one, table, kind, tuple(tenant), f"{path}: binding {one.name}")
        key = binding.conditions.get(kind.index)
        if key is not None and key.is_exact and not key.caseless:
            for value in key.values:
                indexed[value].append(binding)
        else:
            others.append(binding)
    return TrustedIssuer(
        url=table.url,
        kind=kind,
        audience=table.audience,
        algorithms=frozenset(table.algorithms),
        max_age=timedelta(seconds=table.max_age_seconds),
        indexed={value: tuple(found) for value, found in indexed.items()},
        others=tuple(others),
    )


def _binding(
    table: BindingTable, issuer: IssuerTable, kind: IssuerKind, tenant: tuple[str, ...], place: str
) -> Binding:
    given: dict[str, Condition] = {}
    for name, wanted in table.claims.items():
        if name in REGISTERED:
            raise InputError("is checked for every token already, and is no condition", place=f"{place}: claims.{name}")
        _require_known(name, kind, f"{place}: claims.{name}")
        given[name] = condition(wanted, place=f"{place}: claims.{name}", caseless=name in kind.caseless)
    for name in tenant:
        if name not in given or not given[name].is_exact:
            raise InputError(
                f"strangers have tokens of this issuer too, and {name}, which tells them apart, has no exact value",
                place=f"{place}: claims.{name}",
                todo=f"give {name} the id that is yours",
            )
    if not any(not one.absent for one in given.values()):
        raise InputError("without a condition it would trust every token of this issuer", place=f"{place}: claims")
    conditions = kind.complete(issuer.url, given, place=place)
    attributes = tuple(
        (name, one if isinstance(one, bool) else template(one, place=f"{place}: attributes.{name}"))
        for name, one in table.attributes.items()
    )
    name_template = template(table.id, place=f"{place}: id")
    for used in (name_template, *(one for _, one in attributes if isinstance(one, Template))):
        for claim in used.claims:
            _require_known(claim, kind, f"{place}: {{{claim}}}")
    if not name_template.claims or not name_template.prefix:
        raise InputError(
            "must begin with text of this issuer's own, and name a claim after it",
            place=f"{place}: id",
            todo=f'write for example "{kind.name}/{{{kind.index}}}"',
        )
    return Binding(
        name=table.name,
        conditions=conditions,
        type=table.principal or "Job",
        id=name_template,
        attributes=attributes,
        parents=(*(Ref("Group", group) for group in table.groups), Ref("Space", table.space)),
        space=table.space,
        classes=Classes(conditions, kind.rules),
    )


def _require_known(name: str, kind: IssuerKind, place: str) -> None:
    if kind.rules.knows(name):
        return
    known = kind.rules.required | kind.rules.optional
    close = difflib.get_close_matches(name, known, 1)
    todo = f"did you mean {close[0]}?" if close else None
    raise InputError(f"tokens of a {kind.name} issuer have no claim {name}", place=place, todo=todo)
