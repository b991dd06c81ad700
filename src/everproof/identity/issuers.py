"""The kinds of issuer: what each says in its tokens, and what must be asked of it. Integrations register theirs."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from everproof.identity.claims import ClaimRules
from everproof.identity.conditions import Condition
from everproof.kernel.errors import InputError
from everproof.kernel.words import Attributes


class IssuerKind(Protocol):
    """One kind of issuer, such as ``github``: the name that trust files give in ``issuer.type``."""

    name: str
    proof: str
    """The kind of the proofs it makes, such as ``ci-token``."""
    rules: ClaimRules
    caseless: frozenset[str]
    """Claims in which the issuer itself does not tell cases apart."""
    index: str
    """The claim that nearly every binding has one exact value for."""

    def check_issuer(self, url: str, audience: str, *, place: str) -> None:
        """Check that an issuer of this kind can be at ``url``, and that ``audience`` is one for us alone.

        Raises:
            InputError: no.
        """
        ...

    def tenant_claims(self, url: str) -> tuple[str, ...]:
        """The immutable ids that a binding must have exact values for, since strangers use this issuer too."""
        ...

    def complete(self, url: str, conditions: Mapping[str, Condition], *, place: str) -> Mapping[str, Condition]:
        """``conditions`` with what this kind of issuer asks for unless told otherwise.

        Raises:
            InputError: a condition that does not mean what it seems to.
        """
        ...

    def check_claims(self, claims: Mapping[str, Any]) -> None:
        """Check that the claims of a verified token agree with each other.

        Raises:
            JoseError: they do not.
        """
        ...

    def attributes(self, claims: Mapping[str, Any]) -> Attributes:
        """What policy may ask about the principal."""
        ...


class IssuerKinds:
    """The kinds that are known."""

    def __init__(self) -> None:
        self._kinds: dict[str, IssuerKind] = {}

    def register(self, kind: IssuerKind) -> None:
        """Make ``kind`` known."""
        assert kind.name not in self._kinds
        self._kinds[kind.name] = kind

    def named(self, name: str, *, place: str) -> IssuerKind:
        """The kind called ``name``.

        Raises:
            InputError: there is none.
        """
        kind = self._kinds.get(name)
        if kind is None:
            known = ", ".join(sorted(self._kinds)) or "none"
            raise InputError(f"there is no kind of issuer {name!r}; known are: {known}", place=place)
        return kind


EVERYBODYS: Final = frozenset(
    {
        "sts.amazonaws.com",
        "api://AzureADTokenExchange",
        "sigstore",
        "pypi",
        "testpypi",
        "vault",
        "kubernetes",
        "crates.io",
    }
    | {"crates.io", "npm:registry.npmjs.org", "rubygems.org", "default"}
)
"""Audiences that jobs ask for to go elsewhere: whoever receives such a token there could present it here."""


def require_own_audience(audience: str, *, place: str) -> None:
    """Check that ``audience`` can be this server's alone.

    Raises:
        InputError: it is one that other services use.
    """
    if audience in EVERYBODYS or audience.startswith("https://iam.googleapis.com/"):
        raise InputError(
            "other services take tokens of this audience, and could present them here",
            place=f"{place}.audience",
            todo="choose this server's own address",
        )
