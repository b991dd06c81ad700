"""What decisions know of grants, incidents and who is on call: from memory, for this principal, action and resource."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

from everproof.access.grants import Grants
from everproof.access.incidents import Incidents
from everproof.access.records import GrantRecord
from everproof.access.rules import Rules
from everproof.kernel.words import Action, Fact, Proof, Resource

AUTO: Final = Action("access:auto")
PERSON: Final = "User"


class AccessFacts:
    """The facts ``granted``, ``grant_id``, ``grant_expires_in``, ``approvals``, ``approvers``, ``break_glass``.

    And ``incident`` and ``on_call``. Nothing is said of a grant for another action or resource.
    """

    name = "access"
    says = frozenset(
        {
            "granted", "grant_id", "grant_expires_in", "approvals", "approvers", "break_glass", "incident", "on_call",
        }
    )  # fmt: skip

    def __init__(self, grants: Grants, incidents: Incidents, rules: Callable[[], Rules]) -> None:
        self._grants = grants
        self._incidents = incidents
        self._rules = rules

    def facts(self, proof: Proof, action: Action, resource: Resource, at: datetime) -> Iterable[Fact]:
        """What is known about this request."""
        principal = proof.principal
        if principal.ref.type != PERSON:
            incident = self._incidents.current()
            return () if incident is None else (Fact("incident", incident.id, incident.opened, self.name),)
        found: list[Fact] = []
        mine = [
            one
            for one in self._grants.of(principal.ref, at)
            if fits(one, action, resource) and (not one.break_glass or _is_opened_by(one, proof))
        ]
        if mine:
            # Of several, the one that most people stand behind, and of these the one that lasts longest.
            best = max(mine, key=lambda one: (not one.break_glass, len(one.approvers), one.expires))
            values: dict[str, Any] = {} if best.break_glass else {"granted": True}
            values |= {
                "grant_id": best.id,
                "grant_expires_in": int((best.expires - at).total_seconds()),
                "approvals": len(best.approvers),
                "approvers": [one.id for one in best.approvers],
            }
            found += [Fact(name, value, best.began, self.name) for name, value in values.items()]
            if any(one.break_glass for one in mine):
                found.append(Fact("break_glass", True, best.began, self.name))
        # Nobody is let through by an incident of their own making.
        but = principal.ref if action == AUTO else None
        if (incident := self._incidents.current(but=but)) is not None:
            found.append(Fact("incident", incident.id, incident.opened, self.name))
        on_call = self._rules().on_call
        if on_call and not on_call.isdisjoint(principal.parents):
            found.append(Fact("on_call", True, at, self.name))
        return found


def _is_opened_by(grant: GrantRecord, proof: Proof) -> bool:
    """Whether this is the session that break-glass opened, and none of its person's others; or a word about them."""
    return proof.credential == grant.id or proof.vouched_by is not None


def fits(grant: GrantRecord, action: Action, resource: Resource) -> bool:
    """Whether a grant is for this: its very action, on its resource or on what is in it, as the door says."""
    if action.name not in grant.actions:
        return False
    return resource.ref == grant.resource or grant.resource in resource.parents
