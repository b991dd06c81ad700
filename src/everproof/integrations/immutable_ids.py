"""The ids by which platforms name what never changes hands: numbers, and UUIDs."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from everproof.identity.conditions import Condition, text_of
from everproof.identity.jose import JoseError
from everproof.kernel.errors import InputError

NUMBER: Final = re.compile(r"[1-9][0-9]{0,18}")
UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
BRACED_UUID: Final = re.compile(r"\{[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}")

_FORMS: Final = {NUMBER: "a number", UUID: "a UUID", BRACED_UUID: "a UUID in braces"}


def require_ids(
    conditions: Mapping[str, Condition], names: Iterable[str], form: re.Pattern[str], *, place: str
) -> None:
    """Check that the conditions on ``names`` want ids: a name in their place would be one that anyone can take over.

    Raises:
        InputError: one of them wants something else.
    """
    for name in names:
        wanted = conditions.get(name)
        if wanted is not None and not all(form.fullmatch(value) for value in wanted.values):
            raise InputError(
                f"must be {_FORMS[form]}: a name that is given up can be registered by anyone",
                place=f"{place}: claims.{name}",
            )


def with_implied(conditions: Mapping[str, Condition], implied: Mapping[str, Condition]) -> Mapping[str, Condition]:
    """``conditions``, and those of ``implied`` whose claims they do not name."""
    return {**conditions, **{name: one for name, one in implied.items() if name not in conditions}}


def require_agreement(claims: Mapping[str, Any], names: Iterable[str], *, otherwise: str) -> None:
    """Check that those of ``names`` that are there say the same.

    Raises:
        JoseError: they do not; ``otherwise`` says what that means.
    """
    told = {name: text_of(claims[name]) for name in names if claims.get(name) is not None}
    if len(set(told.values())) > 1:
        raise JoseError(otherwise, place=" and ".join(f"claims.{name}" for name in told))


def attributes_of(claims: Mapping[str, Any], platform: str, named: Mapping[str, str]) -> dict[str, Any]:
    """What policy may ask about a job: ``named`` gives the claim for each attribute; empty ones are left out."""
    found: dict[str, Any] = {"platform": platform, "issuer": claims["iss"]}
    for name, claim in named.items():
        if text := text_of(claims.get(claim)):
            found[name] = text
    return found
