"""One request to the door as it is understood: who asks, for what, and under which conditions."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from scim2_models import SearchRequest

from everproof.kernel.errors import InputError
from everproof.kernel.words import Proof
from everproof.provisioning.dialects import STANDARD, Dialect
from everproof.server.scim.bounds import MAX_EXPRESSION
from everproof.server.scim.errors import NotModifiedError, ScimError
from everproof.server.scim.expressions import bounded_filter, bounded_path

MAX_PARAMETERS: Final = 32
_NAMES: Final = ("filter", "sortBy", "sortOrder", "startIndex", "count", "cursor", "attributes", "excludedAttributes")
_NUMBERS: Final = ("startIndex", "count")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request. ``provisioner`` is the id of the service that keeps what it is about; ``path`` is below the door."""

    method: str
    path: tuple[str, ...]
    proof: Proof
    provisioner: str
    dialect: Dialect = STANDARD
    query: Mapping[str, str] = {}
    body: Any = None
    if_match: str | None = None
    if_none_match: str | None = None
    request: str | None = None

    def require_match(self, version: str) -> None:
        """Refuse to change what is at another version than the client knows: RFC 7644, section 3.14.

        Raises:
            ScimError: 412.
        """
        if self.if_match is not None and not _names_version(self.if_match, version):
            raise ScimError("it was changed since you read it", status=412, todo="read it again, and decide anew")

    def require_news(self, version: str) -> None:
        """Stop where the client has what it asks for.

        Raises:
            NotModifiedError: it has.
        """
        if self.if_none_match is not None and _names_version(self.if_none_match, version):
            raise NotModifiedError(version)


def query_of(query: bytes) -> dict[str, str]:
    """The parameters of a query that mean something here; others are left out.

    Raises:
        InputError: there are too many, one is there twice, or it is no query.
    """
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError as error:
        raise InputError(f"not a query of at most {MAX_PARAMETERS} parameters", place="query") from error
    known = {name.lower(): name for name in _NAMES}
    found: dict[str, str] = {}
    for name, value in pairs:
        if (spelled := known.get(name.lower())) is not None:
            if spelled in found:
                raise InputError("given more than once", place=f"query: {spelled}")
            found[spelled] = value
    return found


def searched(said: Mapping[str, Any], model: Any, dialect: Dialect) -> SearchRequest[Any]:
    """What a query or the body of a search asks for, of resources of ``model``.

    Raises:
        ScimError: a filter that is too long or too deep.
        ValidationError: what cannot be read as a search.
    """
    known = {name.lower(): name for name in _NAMES}
    wanted = {known[name.lower()]: value for name, value in said.items() if name.lower() in known and value is not None}
    if wanted.get("filter"):
        wanted["filter"] = bounded_filter(dialect.filter(str(wanted["filter"])))
    else:
        wanted.pop("filter", None)
    if "sortBy" in wanted:
        wanted["sortBy"] = bounded_path(str(wanted["sortBy"]))
    for name in ("attributes", "excludedAttributes"):
        if name in wanted and len(str(wanted[name])) > MAX_EXPRESSION:
            raise InputError(f"longer than {MAX_EXPRESSION} characters", place=name)
    for name in _NUMBERS:
        if isinstance(wanted.get(name), str):
            wanted[name] = _number(wanted[name], name)
    if isinstance(wanted.get("sortOrder"), str):
        wanted["sortOrder"] = wanted["sortOrder"].lower()
    found: SearchRequest[Any] = SearchRequest[model].model_validate(wanted)
    return found


def _number(text: str, name: str) -> int:
    if len(text) > 10 or not text.lstrip("-").isdecimal():  # noqa: PLR2004 - longer than any number of resources
        raise InputError("not a whole number", place=name)
    return int(text)


def _names_version(header: str, version: str) -> bool:
    """Whether a list of versions has this one, weak or not: RFC 9110, section 13.1."""
    listed = [one.strip().removeprefix("W/") for one in header.split(",")]
    return "*" in listed or version.removeprefix("W/") in listed
