"""Incidents: that one is open is a fact, and whoever is on call may get more by it."""

import asyncio
from typing import Any, Final, TypeAlias

import msgspec

from everproof.access.incident_store import (
    Incident,
    close_incident,
    find_incident,
    insert_incident,
    list_incidents,
    open_incidents,
)
from everproof.access.plain import plain
from everproof.access.resources import of_person
from everproof.authorize import Allowed, Authorizer, Denied
from everproof.kernel.canonical import encode
from everproof.kernel.errors import InputError, NotFoundError, RefusedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import MAIN_SPACE, Action, Proof, Ref, Resource
from everproof.storage import Storage, Transaction

TOPIC: Final = "access.incident"
READ: Final = Action("access:read")
MAX_LISTED: Final = 100
INCIDENT: Final = Action("access:incident")
PERSON: Final = "User"

_SERVER: Final = Resource(ref=Ref("Server", "organisation"), parents=(MAIN_SPACE,))
Outcome: TypeAlias = Allowed[Action, Resource, Incident] | Denied


class Incidents:
    """The incidents that are open, in memory, and the decisions that open and close them."""

    def __init__(self, storage: Storage, authorizer: Authorizer) -> None:
        self._storage = storage
        self._authorizer = authorizer
        with storage.reading() as connection:
            self._open = {one.id: one for one in open_incidents(connection)}
        storage.subscribe(TOPIC, self._hear)

    def current(self, *, but: Ref | None = None) -> Incident | None:
        """The oldest that is open, of those that ``but`` has not opened."""
        if not self._open:
            return None
        return next((one for one in self._open.values() if one.by != but), None)

    async def open(self, proof: Proof, name: str) -> Outcome:
        """Open an incident, if policy lets this person.

        Raises:
            InputError: nobody could tell by its name what it is.
        """
        text = plain(name, place="name")
        if not text:
            raise InputError("an incident has a name", place="name")

        def begin(tx: Transaction) -> Incident:
            _require_person(proof)
            incident = Incident(id=new_id("inc"), name=text, opened=tx.now, by=proof.principal.ref)
            insert_incident(tx, incident)
            tx.publish(TOPIC, incident.id, encode(incident))
            return incident

        return await self._authorizer.authorize(
            proof, INCIDENT, _SERVER, within=begin, detail={"incident": "open", "name": text}
        )

    async def close(self, proof: Proof, id_: str) -> Outcome:
        """Close an incident, if policy lets this person."""

        def end(tx: Transaction) -> Incident:
            _require_person(proof)
            if find_incident(tx.connection, id_) is None:
                raise NotFoundError(f"there is no incident {id_}")
            if not close_incident(tx, id_, proof.principal.ref):
                raise RefusedError("the incident is closed already")
            closed = find_incident(tx.connection, id_)
            assert closed is not None
            tx.publish(TOPIC, id_, encode(closed))
            return closed

        detail: dict[str, Any] = {"incident": "close", "id": id_}
        return await self._authorizer.authorize(proof, INCIDENT, _SERVER, within=end, detail=detail)

    async def find(self, proof: Proof) -> list[Incident] | Denied:
        """Incidents, the newest first, for whoever may see access."""
        outcome = await self._authorizer.authorize(proof, READ, of_person(proof.principal.ref))
        return outcome if isinstance(outcome, Denied) else await asyncio.to_thread(self._listed)

    def _listed(self) -> list[Incident]:
        with self._storage.reading() as connection:
            return list_incidents(connection, MAX_LISTED)

    def _hear(self, key: str, body: bytes) -> None:
        incident = msgspec.json.decode(body, type=Incident)
        if incident.closed is None:
            self._open[key] = incident
        else:
            self._open.pop(key, None)


def _require_person(proof: Proof) -> None:
    if proof.principal.ref.type != PERSON:
        raise RefusedError("incidents are opened and closed by people")
