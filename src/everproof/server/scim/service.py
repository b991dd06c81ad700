"""What is done with a request once it is known who asks: the methods and places of RFC 7644, table 2."""

import asyncio
from typing import Any, Final

import msgspec
from scim2_models import ResponseParameters

from everproof.authorize import Authorizer
from everproof.identity import Directory
from everproof.kernel.clock import Clock
from everproof.kernel.errors import InputError, NotFoundError, RefusedError
from everproof.kernel.words import MAIN_SPACE, Resource
from everproof.keys import SigningKeys
from everproof.provisioning import Provisioning
from everproof.provisioning.records import What
from everproof.server.denial import allowed
from everproof.server.http.application import MethodNotAllowedError
from everproof.server.http.call import Reply
from everproof.server.scim.asked import Asked, searched
from everproof.server.scim.bulk import Bulk
from everproof.server.scim.cursors import Cursors
from everproof.server.scim.discovery import USER, Discovery
from everproof.server.scim.errors import BadSyntaxError, reply_of
from everproof.server.scim.expressions import bounded_path
from everproof.server.scim.models import Group
from everproof.server.scim.reads import LIST, MODELS, Reads, shown
from everproof.server.scim.views import Views
from everproof.server.scim.writes import READ, Writes
from everproof.storage import Storage

SEARCH: Final = ".search"
SEARCH_SCHEMA: Final = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
PERSON: Final = "User"
PROVISIONER: Final = "Service"

_KINDS: Final[dict[str, What]] = {"Users": "User", "Groups": "Group"}
_BOTH: Final[tuple[What, ...]] = ("User", "Group")


class Service:
    """Answers requests. ``base`` is the address of the door."""

    def __init__(
        self,
        *,
        authorizer: Authorizer,
        directory: Directory,
        provisioning: Provisioning,
        storage: Storage,
        signing: SigningKeys,
        clock: Clock,
        base: str,
    ) -> None:
        views = Views(base)
        self._authorizer = authorizer
        self._reads = Reads(storage, provisioning.documents, views, Cursors(signing, clock))
        self._writes = Writes(authorizer, directory, provisioning, self._reads, clock=clock)
        self._discovery = Discovery(base)
        self._bulk = Bulk(self.answer, base)

    async def answer(self, asked: Asked) -> Reply:  # noqa: PLR0911 - one for each kind of place
        """The answer to a request.

        Raises:
            Error, SCIMException, ValidationError: what is wrong with it.
        """
        first, *rest = asked.path
        if first == "Me" and len(rest) == 0:
            return await self._me(asked)
        if first in _KINDS:
            if rest == [SEARCH]:
                return await self._search(_only(asked, "POST"), (_KINDS[first],))
            if not rest:
                return await self._all(asked, _KINDS[first])
            if len(rest) == 1:
                return await self._one(asked, _KINDS[first], rest[0])
        if not rest and first in {"", SEARCH}:
            return await self._search(_only(asked, "GET" if first == "" else "POST"), _BOTH)
        if first == "Bulk" and not rest:
            self._require_provisioner(_only(asked, "POST"))
            return await self._bulk(asked)
        return self.told(asked)

    def told(self, asked: Asked) -> Reply:
        """What the server says of itself.

        Raises:
            NotFoundError: there is no such place.
        """
        first, *rest = asked.path
        if first == "ServiceProviderConfig" and not rest:
            _only(asked, "GET")
            return reply_of(self._discovery.config)
        documents = {"ResourceTypes": self._discovery.types, "Schemas": self._discovery.schemas}.get(first)
        if documents is None or len(rest) > 1:
            raise NotFoundError("there is nothing at this address", place="/".join(asked.path)[:200])
        _only(asked, "GET")
        if "filter" in asked.query:
            raise RefusedError("what the server says of itself is not filtered", place="filter")
        if not rest:
            listed = list(documents.values())
            return reply_of(
                {"schemas": [LIST], "totalResults": len(listed), "startIndex": 1, "itemsPerPage": len(listed),
                 "Resources": listed}
            )  # fmt: skip
        if (document := documents.get(rest[0])) is None:
            raise NotFoundError("there is none of this name", place="/".join(asked.path)[:200])
        return reply_of(document)

    async def _all(self, asked: Asked, what: What) -> Reply:
        if asked.method == "GET":
            return await self._search(asked, (what,))
        self._require_provisioner(_only(asked, "GET", "POST"))
        parameters = _parameters(asked, what)
        made = await self._writes.create(asked, what)
        return await self._told(asked, what, made.id, parameters, status=201)

    async def _one(self, asked: Asked, what: What, id_: str) -> Reply:
        _only(asked, "GET", "PUT", "PATCH", "DELETE")
        self._require_provisioner(asked)
        parameters = _parameters(asked, what)
        if asked.method == "GET":
            await self._writes.may_read(asked)
            return await self._told(asked, what, id_, parameters)
        if asked.method == "DELETE":
            await self._writes.remove(asked, what, id_)
            return Reply(status=204)
        if asked.method == "PUT":
            await self._writes.replace(asked, what, id_)
            return await self._told(asked, what, id_, parameters)
        await self._writes.patch(asked, what, id_)
        if what == "Group" and not parameters.attributes:
            # Who puts one person into a group of ten thousand is not told the others (section 3.5.2 allows it).
            _, told = await asyncio.to_thread(self._reads.one, asked.provisioner, what, id_, members=False)
            return Reply(status=204, headers={"etag": told["meta"]["version"]})
        return await self._told(asked, what, id_, parameters)

    async def _told(
        self, asked: Asked, what: What, id_: str, parameters: "ResponseParameters[Any]", *, status: int = 200
    ) -> Reply:
        _, told = await asyncio.to_thread(self._reads.one, asked.provisioner, what, id_)
        version = told["meta"]["version"]
        if asked.method == "GET":
            asked.require_news(version)
        headers = {"etag": version, "location": told["meta"]["location"]}
        return reply_of(await asyncio.to_thread(shown, told, parameters), status=status, headers=headers)

    async def _search(self, asked: Asked, kinds: tuple[What, ...]) -> Reply:
        self._require_provisioner(asked)
        said: Any = asked.query
        if asked.method == "POST":
            said = asked.body
            if not isinstance(said, dict) or SEARCH_SCHEMA not in (said.get("schemas") or ()):
                raise BadSyntaxError(f"not a SearchRequest with the schema {SEARCH_SCHEMA}")
        model = MODELS[kinds[0]] if len(kinds) == 1 else USER | Group
        wanted = await asyncio.to_thread(searched, said, model, asked.dialect)
        await self._writes.may_read(asked)
        return reply_of(await asyncio.to_thread(self._reads.search, asked.provisioner, kinds, wanted))

    async def _me(self, asked: Asked) -> Reply:
        """The person who asks, as whoever keeps them here describes them: RFC 7644, section 3.11."""
        if asked.proof.principal.ref.type != PERSON:
            raise NotFoundError("you are no person whom a provisioner keeps here", place="/Me")
        found = await asyncio.to_thread(self._reads.of_person, asked.proof.principal.ref.id)
        mine = msgspec.structs.replace(asked, provisioner=found.provisioner, path=("Users", found.id))
        if asked.method != "GET":
            _only(asked, "GET", "PUT", "PATCH", "DELETE")
            raise RefusedError(
                "what is said of you is said where you are kept", todo=f"change it at {found.provisioner}"
            )
        about = Resource(ref=found.ref, parents=(MAIN_SPACE,))
        allowed(await self._authorizer.authorize(asked.proof, READ, about, request=asked.request))
        return await self._told(mine, "User", found.id, _parameters(asked, "User"))

    @staticmethod
    def _require_provisioner(asked: Asked) -> None:
        """Only a service keeps people: each sees what it keeps itself, and a person keeps nobody."""
        if asked.proof.principal.ref.type != PROVISIONER:
            todo = "ask as a service that provisions: everproof identity provisioner add"
            raise RefusedError(f"{asked.proof.principal.ref} keeps nobody here", todo=todo)


def _only(asked: Asked, *methods: str) -> Asked:
    if asked.method not in methods:
        raise MethodNotAllowedError(set(methods))
    return asked


def _parameters(asked: Asked, what: What) -> "ResponseParameters[Any]":
    said = {name: asked.query[name] for name in ("attributes", "excludedAttributes") if asked.query.get(name)}
    for value in said.values():
        bounded_path(value)
    if len(said) > 1:
        raise InputError("give either attributes or excludedAttributes", place="query")
    model: Any = MODELS[what]
    parameters: ResponseParameters[Any] = ResponseParameters[model].model_validate(said)
    return parameters
