"""Requests and grants as they are shown, now or years later: with the ends that nobody has written down yet."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from everproof.access import store
from everproof.access.records import GrantRecord, RequestRecord, Shown, State
from everproof.identity import credential_store
from everproof.kernel.clock import from_milliseconds
from everproof.kernel.errors import NotFoundError


def read_request(connection: Connection, id_: str, now: datetime) -> RequestRecord:
    """One request.

    Raises:
        NotFoundError: there is none.
    """
    kept = store.find_request(connection, id_)
    if kept is None:
        raise NotFoundError(f"there is no request {id_}", todo="everproof requests list shows them")
    [found] = shown(connection, [kept], now)
    return found


def read_grant(connection: Connection, id_: str) -> GrantRecord:
    """One grant, over or not.

    Raises:
        NotFoundError: there is none.
    """
    found = store.find_grant(connection, id_)
    if found is None:
        raise NotFoundError(f"there is no grant {id_}", todo="everproof grants list shows them")
    [grant] = settled(connection, [found])
    return grant


def shown(connection: Connection, kept: Sequence[store.Kept], now: datetime) -> list[RequestRecord]:
    """Requests as they stand at ``now``."""
    found = store.find_grants(connection, [one.grant for one in kept if one.grant is not None])
    grants = {one.id: one for one in settled(connection, list(found.values()))}
    return [_shown(one, grants.get(one.grant or ""), now) for one in kept]


def settled(connection: Connection, grants: Sequence[GrantRecord]) -> list[GrantRecord]:
    """Grants with the end that their credentials have come to, where it is not in their own record yet."""
    told = []
    for grant in grants:
        credential = None if grant.how else credential_store.find_credential(connection, grant.id)
        if credential is not None and credential.revoked_at is not None:
            reason = credential.revoked_reason or ""
            told.append(msgspec.structs.replace(grant, ended=credential.revoked_at, how="revoked", reason=reason))
        else:
            told.append(grant)
    return told


def _shown(kept: store.Kept, grant: GrantRecord | None, now: datetime) -> RequestRecord:
    body = kept.body
    approvals = tuple(
        Shown(by=one.by, at=one.at, method=one.method, factor_age=one.factor_age, message=one.message)
        for one in kept.answers
    )
    answer_by = from_milliseconds(body.answer_by)
    return RequestRecord(
        id=body.id,
        requester=body.requester,
        action=body.action,
        resource=body.resource,
        seconds=body.seconds,
        reason=body.reason,
        needs=body.needs,
        owners=body.owners,
        created=from_milliseconds(body.created),
        answer_by=answer_by,
        digest=kept.digest,
        state=_state(kept, grant, answer_by, now),
        approvals=approvals,
        decided=kept.decided,
        by=kept.by,
        method=kept.method,
        message=kept.message,
        grant=grant,
    )


def _state(kept: store.Kept, grant: GrantRecord | None, answer_by: datetime, now: datetime) -> State:
    if grant is not None:
        return grant.state(now)
    if kept.state != "requested":
        state: State = msgspec.convert(kept.state, State)
        return state
    if answer_by <= now:
        return "lapsed"
    return "approved" if kept.answers else "requested"
