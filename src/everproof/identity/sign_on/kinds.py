"""The kinds of sign-on providers: what each calls a person, a tenant and a group. Integrations register theirs.

What a kind calls the subject never changes and never goes to another person. An address of e-mail does both.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias

from everproof.identity.jose import JoseError
from everproof.kernel.errors import InputError

AssertionAudience: TypeAlias = Literal["issuer", "token-endpoint"]

MAX_SUBJECT: Final = 255
"""OpenID Connect Core 1.0, section 2: a subject has at most so many ASCII characters."""
MAX_GROUPS: Final = 2_000
MAX_GROUP: Final = 512


class Written(Protocol):
    """What a kind looks at in a sign-on file."""

    @property
    def issuer(self) -> str:
        """The issuer that is written there; empty where none is."""
        ...

    @property
    def tenant(self) -> str:
        """The tenant's id; empty where none is written."""
        ...

    @property
    def hosted_domains(self) -> tuple[str, ...]:
        """The domains of the organisation's accounts."""
        ...


class ProviderKind(Protocol):
    """One kind of provider, such as ``okta``: the name that sign-on files give in ``provider``."""

    name: str
    title: str
    """What people know it by."""
    fields: frozenset[str]
    """Fields of a sign-on file that mean something to this kind alone."""
    says_groups: bool
    """Whether its tokens can say which groups somebody is in."""
    asks_by_claims: bool
    """Whether it must be asked by name to say when somebody was authenticated (OpenID Connect Core 1.0, 5.5)."""
    assertion_audience: AssertionAudience
    """Whom it wants a client's assertion to be made for."""

    def issuer(self, written: Written, *, place: str) -> str:
        """The issuer of the tokens.

        Raises:
            InputError: what is written is no issuer of this kind, or one that is not the organisation's alone.
        """
        ...

    def check_claims(self, written: Written, claims: Mapping[str, Any]) -> None:
        """Check that a verified token is about somebody of the organisation's own tenant.

        Raises:
            JoseError: it is about somebody else's.
        """
        ...

    def subject(self, claims: Mapping[str, Any]) -> str:
        """What the provider calls the person, for ever.

        Raises:
            JoseError: the token does not say.
        """
        ...

    def groups(self, claims: Mapping[str, Any], claim: str) -> tuple[str, ...] | None:
        """The groups that the token says; None where it does not, which never means that there are none.

        Raises:
            JoseError: it says something that is no list of groups.
        """
        ...


class ProviderKinds:
    """The kinds that are known."""

    def __init__(self) -> None:
        self._kinds: dict[str, ProviderKind] = {}

    def register(self, kind: ProviderKind) -> None:
        """Make ``kind`` known."""
        assert kind.name not in self._kinds
        self._kinds[kind.name] = kind

    def named(self, name: str, *, place: str) -> ProviderKind:
        """The kind called ``name``.

        Raises:
            InputError: there is none.
        """
        if (kind := self._kinds.get(name)) is None:
            raise InputError(f"no kind of provider; known are {', '.join(sorted(self._kinds)) or 'none'}", place=place)
        return kind


def named_subject(claims: Mapping[str, Any], claim: str = "sub") -> str:
    """The value of the claim that names the person.

    Raises:
        JoseError: it is missing, too long, or not in plain ASCII.
    """
    value = claims.get(claim)
    if type(value) is not str or not 0 < len(value) <= MAX_SUBJECT or not value.isascii() or not value.isprintable():
        raise JoseError("must name somebody in at most 255 ASCII characters", place=f"claims.{claim}")
    return value


def listed_groups(claims: Mapping[str, Any], claim: str) -> tuple[str, ...] | None:
    """The groups in a claim that is a list of them; None where the claim is not there.

    Raises:
        JoseError: it is something else.
    """
    value = claims.get(claim)
    if value is None:
        return None
    if type(value) is not list or len(value) > MAX_GROUPS:
        raise JoseError(f"not a list of at most {MAX_GROUPS} groups", place=f"claims.{claim}")
    if not all(type(one) is str and 0 < len(one) <= MAX_GROUP for one in value):
        raise JoseError("a group's name is text, and not long", place=f"claims.{claim}")
    return tuple(value)
