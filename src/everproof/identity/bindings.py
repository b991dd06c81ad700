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
from typing import Annotated, Any, Final, Literal

import msgspec

from everproof.identity.claims import REGISTERED, Classes
from everproof.identity.conditions import Condition, Wanted, condition, text_of
from everproof.identity.issuers import IssuerKind, IssuerKinds
from everproof.identity.jose import Algorithm, JoseError
from everproof.identity.outbound import https_url
from everproof.identity.templates import Template, template
from everproof.kernel.errors import InputError
from everproof.kernel.toml import parse_toml
from everproof.kernel.words import Attributes, Principal, Ref

FOLDER: Final = "trust/"
MAX_AGE_SECONDS: Final = 3600
"""No token is taken that was issued longer ago, however long its issuer lets it live."""

_OF_SERVICE: Final = frozenset({"issuer", "subject"})
"""What an issuer tells of a service; the rest of what it tells is about a job."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class IssuerTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[issuer]``. ``tenant_claims`` names the immutable ids of an issuer that strangers use too."""

    url: Text
    audience: Text
    type: Name = "oidc"
    algorithms: Annotated[tuple[Algorithm, ...], msgspec.Meta(min_length=1)] = ("RS256",)
    max_age_seconds: Annotated[int, msgspec.Meta(ge=1, le=MAX_AGE_SECONDS)] = MAX_AGE_SECONDS
    tenant_claims: tuple[Name, ...] = ()


class BindingTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[binding]]``. ``id`` and the texts of ``attributes`` are templates over claims."""

    name: Name
    id: Text
    claims: dict[str, Wanted]
    principal: Literal["Job", "Service"] = "Job"
    groups: tuple[Name, ...] = ()
    space: Name = "main"
    attributes: dict[Name, Text | bool] = {}


class TrustFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file."""

    issuer: IssuerTable
    binding: Annotated[tuple[BindingTable, ...], msgspec.Meta(min_length=1)]


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
        if self.type == "Service":
            attributes = {name: value for name, value in attributes.items() if name in _OF_SERVICE}
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


class TrustBindings:
    """All issuers that are trusted."""

    def __init__(self, issuers: Mapping[str, TrustedIssuer]) -> None:
        self._issuers = issuers

    @property
    def urls(self) -> frozenset[str]:
        """The issuers."""
        return frozenset(self._issuers)

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
    issuers: dict[str, TrustedIssuer] = {}
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
        if file.issuer.url in issuers:
            raise InputError("another file has this issuer already", place=f"{path}: issuer.url")
        issuers[file.issuer.url] = _trusted(file, kinds, path)
        for table in file.binding:
            if table.name in names:
                raise InputError(f"{names[table.name]} has a binding of this name", place=f"{path}: {table.name}")
            names[table.name] = path
        _require_own_names(issuers[file.issuer.url], prefixes, path)
    return TrustBindings(issuers)


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


def _trusted(file: TrustFile, kinds: IssuerKinds, path: str) -> TrustedIssuer:
    table = file.issuer
    https_url(table.url, place=f"{path}: issuer.url")
    kind = kinds.named(table.type, place=f"{path}: issuer.type")
    kind.check_issuer(table.url, table.audience, place=f"{path}: issuer")
    tenant = dict.fromkeys((*kind.tenant_claims(table.url), *table.tenant_claims))
    indexed: defaultdict[str, list[Binding]] = defaultdict(list)
    others = []
    for one in file.binding:
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
        type=table.principal,
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
