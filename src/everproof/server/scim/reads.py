"""Reading what a provisioner keeps here: one resource, or those that match: RFC 7644, section 3.4, and RFC 9865."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from scim2_models import Context, Resource, ResponseParameters, ScimFilter, SearchRequest
from sqlalchemy import Connection

from everproof.kernel.canonical import encode
from everproof.kernel.errors import NotFoundError
from everproof.provisioning import store
from everproof.provisioning.documents import Documents
from everproof.provisioning.names import group_key
from everproof.provisioning.records import Provisioned, What
from everproof.server.scim.bounds import DEFAULT_PAGE, MAX_PAGE
from everproof.server.scim.cursors import Cursors
from everproof.server.scim.discovery import USER
from everproof.server.scim.errors import ScimError
from everproof.server.scim.filters import Told, comparable, compiled, names, reader, required
from everproof.server.scim.models import Group
from everproof.server.scim.views import Views
from everproof.storage import Storage

LIST: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
MODELS: Final[Mapping[What, type[Resource[Any]]]] = {"User": USER, "Group": Group}
_NAMED: Final[Mapping[What, str]] = {"User": "username", "Group": "displayname"}


class Reads:
    """Looks into the storage: everything here is for another thread than the one that answers."""

    def __init__(self, storage: Storage, documents: Documents, views: Views, cursors: Cursors) -> None:
        self._storage = storage
        self._documents = documents
        self._views = views
        self._cursors = cursors

    def one(
        self, provisioner: str, what: What, id_: str, *, members: bool = True
    ) -> tuple[Provisioned, dict[str, Any]]:
        """A resource, and what is told of it.

        Raises:
            NotFoundError: the provisioner keeps none of this id and kind.
        """
        with self._storage.reading() as connection:
            found = self._documents.found(connection, provisioner, id_)
            if found.what != what:
                raise NotFoundError(f"there is no {what} with the id {id_}", place="id")
            [told] = self._views.told(connection, [found], members=members)
        return found, told

    def of_person(self, record: str) -> Provisioned:
        """What stands for a person of ours, whoever keeps it.

        Raises:
            NotFoundError: nobody keeps them here.
        """
        with self._storage.reading() as connection:
            row = store.find_record(connection, "User", record)
        if row is None:
            raise NotFoundError("no provisioner keeps you here")
        return self._documents.opened(row)

    def search(self, provisioner: str, kinds: Sequence[What], wanted: SearchRequest[Any]) -> dict[str, Any]:
        """A page of what matches, in the form of a ListResponse.

        Raises:
            ScimError: a cursor that is not good any more.
        """
        count = min(wanted.count if wanted.count is not None else DEFAULT_PAGE, MAX_PAGE)
        members = _are_members_wanted(wanted)
        with self._storage.reading() as connection:
            if wanted.filter is None and wanted.sort_by is None and len(kinds) == 1:
                return self._page(connection, provisioner, kinds[0], wanted, count, members=members)
            matching = [
                one for what in kinds for one in self._matching(connection, provisioner, what, wanted, members=members)
            ]
            ordered = _sorted(matching, wanted)
            page, more = self._cut(provisioner, ordered, wanted, count)
            return self._listed(page, len(ordered), wanted, more)

    def _page(
        self, connection: Connection, provisioner: str, what: What, wanted: SearchRequest[Any], count: int, *,
        members: bool,
    ) -> dict[str, Any]:  # fmt: skip
        """All of one kind in the order in which they came: the database pages."""
        question = _question(provisioner, wanted)
        after = "" if wanted.cursor is None else self._cursors.read(wanted.cursor, count, question)
        skip = 0 if wanted.cursor is not None else (wanted.start_index or 1) - 1
        rows = store.page_of_resources(connection, provisioner, what, after=after, skip=skip, limit=count + 1)
        told = self._views.told(connection, self._documents.all_opened(rows[:count]), members=members)
        more = wanted.cursor is not None and len(rows) > count > 0
        cursor = self._cursors.made(rows[count - 1].id, count, question) if more else ""
        return self._listed(told, store.count_resources(connection, provisioner, what), wanted, cursor)

    def _matching(
        self, connection: Connection, provisioner: str, what: What, wanted: SearchRequest[Any], *, members: bool
    ) -> list[dict[str, Any]]:
        expression = wanted.filter
        if expression is None:
            rows = store.find_resources(connection, provisioner, what)
            return self._views.told(connection, self._documents.all_opened(rows), members=members)
        test = compiled(expression, MODELS[what])
        rows = self._candidates(connection, provisioner, what, expression)
        seen = members or "members" in names(expression.ast)
        told = self._views.told(connection, self._documents.all_opened(rows), members=seen)
        return [one for one in told if test(one)]

    @staticmethod
    def _candidates(
        connection: Connection, provisioner: str, what: What, expression: ScimFilter[Any]
    ) -> list[store.Stored]:
        """What may match, by an index where the filter asks for one resource."""
        for one in required(expression.ast):
            if not isinstance(one.value, str) or one.attr_path.sub_attr:
                continue
            named = one.attr_path.attr.lower()
            if named == "id":
                row = store.find_resource(connection, provisioner, one.value)
                return [row] if row is not None and row.what == what else []
            if named == "externalid":
                return store.find_resources(connection, provisioner, what, external=one.value)
            if named == _NAMED[what] and one.value.isascii():
                key = one.value.lower() if what == "User" else group_key(one.value)
                return store.find_resources(connection, provisioner, what, key=key)
        return store.find_resources(connection, provisioner, what)

    def _cut(
        self, provisioner: str, ordered: list[dict[str, Any]], wanted: SearchRequest[Any], count: int
    ) -> tuple[list[dict[str, Any]], str]:
        """The page that is asked for, and the cursor to the next one."""
        if wanted.cursor is None:
            start = (wanted.start_index or 1) - 1
            return ordered[start : start + count], ""
        question = _question(provisioner, wanted)
        after = self._cursors.read(wanted.cursor, count, question)
        start = 0
        if after:
            start = next((at + 1 for at, one in enumerate(ordered) if one["id"] == after), -1)
            if start < 0:
                gone = "the resource at which the last page ended matches no more"
                raise ScimError(gone, scim_type="expiredCursor", place="cursor", todo="begin anew")
        page = ordered[start : start + count]
        is_last = start + count >= len(ordered) or not page
        return page, "" if is_last else self._cursors.made(page[-1]["id"], count, question)

    @staticmethod
    def _listed(told: list[dict[str, Any]], total: int, wanted: SearchRequest[Any], cursor: str) -> dict[str, Any]:
        listed: dict[str, Any] = {
            "schemas": [LIST],
            "totalResults": total,
            "itemsPerPage": len(told),
            "Resources": [shown(one, wanted) for one in told],
        }
        if wanted.cursor is None:
            listed["startIndex"] = wanted.start_index or 1
        elif cursor:
            listed["nextCursor"] = cursor
        return listed


def shown(told: dict[str, Any], wanted: ResponseParameters[Any]) -> dict[str, Any]:
    """What is told, of the attributes that are wanted alone: RFC 7644, section 3.9."""
    if not wanted.attributes and not wanted.excluded_attributes:
        return told
    model = MODELS[told["meta"]["resourceType"]]
    found: dict[str, Any] = model.model_validate(told).model_dump(
        scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=wanted
    )
    return found


def _are_members_wanted(wanted: SearchRequest[Any]) -> bool:
    if wanted.attributes:
        return any("members" in str(one).lower() for one in wanted.attributes)
    return all(str(one).rsplit(":", 1)[-1].lower() != "members" for one in wanted.excluded_attributes or ())


def _question(provisioner: str, wanted: SearchRequest[Any]) -> str:
    """What a cursor is good for."""
    asked = [provisioner, wanted.filter, wanted.sort_by, wanted.sort_order]
    return hashlib.sha256(encode([None if one is None else str(one) for one in asked])).hexdigest()


def _sorted(told: list[dict[str, Any]], wanted: SearchRequest[Any]) -> list[dict[str, Any]]:
    """In the order that is asked for; what has no value comes last, or first where the order descends."""
    if wanted.sort_by is None:
        return sorted(told, key=lambda one: str(one["id"]))
    keys = {what: _sort_key(wanted, model) for what, model in MODELS.items()}
    descending = wanted.sort_order == SearchRequest.SortOrder.descending
    return sorted(told, key=lambda one: keys[one["meta"]["resourceType"]](one), reverse=descending)


def _sort_key(wanted: SearchRequest[Any], model: type[Resource[Any]]) -> Any:
    binding = wanted.sort_binding(model)
    if binding is None:
        return lambda told: (True, "", told["id"])
    read = reader(binding)

    def key(told: Told) -> tuple[bool, Any, str]:
        value: Any = _preferred(told, binding, read)
        return value is None, "" if value is None else comparable(binding, value), told["id"]

    return key


def _preferred(told: Told, binding: Any, read: Any) -> Any:
    """The value to sort by: of several, that of the preferred one, or else the first."""
    value = read(told)
    if not isinstance(value, list):
        return value
    entries = reader(_without_part(binding))(told) or []
    at = next((at for at, one in enumerate(entries) if isinstance(one, dict) and one.get("primary")), 0)
    return value[at] if value else None


def _without_part(binding: Any) -> Any:
    return replace(binding, sub_field_name=None, sub_field_type=None, urn=binding.urn.rpartition(".")[0] or binding.urn)
