"""The page of what its reader has for now, and of how they come to more."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from everproof.access import request_page
from everproof.access.rules import Rule, Rules
from everproof.identity import Directory
from everproof.kernel.words import Principal, Ref
from everproof.server.access import AccessDoor, GrantQuery, RequestQuery, Revoking
from everproof.server.console.page import HTML, see_other
from everproof.server.console.paths import HOME
from everproof.server.console.visitors import Said, Visitors
from everproof.server.http import Call, Reply, Route

GIVEN_BACK: Final = "given-back"
SAID: Final = {GIVEN_BACK: "It is given back, and opens nothing any more."}

LAST: Final = 5
"""Requests that the page begins with; the rest is on their own."""
WILD: Final = frozenset("*?[")


class AccessPages:
    """What its reader has, and may ask for."""

    def __init__(
        self, visitors: Visitors, door: AccessDoor, *, directory: Directory, rules: Callable[[], Rules]
    ) -> None:
        self._visitors = visitors
        self._door = door
        self._directory = directory
        self._rules = rules

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", HOME, self.show, door="pages", media=HTML),
            Route("POST", f"{HOME}/{{id}}/give-back", self.give_back, door="pages", media=HTML),
        ]

    async def show(self, call: Call, query: Said) -> Reply:
        """Your groups, your grants with the time that is left, and what you can ask for."""
        proof = self._visitors.prove(call.scope)
        me = proof.principal.ref
        grants = await self._door.grants(call, GrantQuery(principal=me.id))
        requests = await self._door.requests(call, RequestQuery(requester=me.id, limit=LAST))
        record = self._directory.record(me)
        return self._visitors.show(
            call.scope,
            "access.html",
            here=HOME,
            me=me,
            grants=[one for one in grants.grants if one.principal == me],
            requests=requests.requests,
            groups=sorted(self._directory.ancestors(record.groups)),
            offers=list(_offers(self._rules(), proof.principal)),
            said=SAID.get(query.said, ""),
        )

    async def give_back(self, call: Call, id: str) -> Reply:  # noqa: A002 - as it stands in the path
        """End a grant of one's own before its time."""
        await self._door.revoke(call, id, Revoking(reason="given back"))
        return see_other(f"{HOME}?said={GIVEN_BACK}")


def _offers(rules: Rules, principal: Principal) -> Iterator[dict[str, Any]]:
    """What the rules let somebody ask for; with the form filled in where a rule names one thing."""
    for rule in rules.rules:
        if rule.requesters and rule.requesters.isdisjoint(principal.parents):
            continue
        yield {
            "actions": [one for one in rule.actions if one != "*"],
            "resources": [f'{type_}::"{pattern}"' for type_, pattern in rule.resources],
            "longest": rule.longest,
            "people": rule.people,
            "automatic": rule.automatic,
            "href": _filled_in(rule),
        }


def _filled_in(rule: Rule) -> str:
    one_of_each = len(rule.actions) == 1 and len(rule.resources) == 1
    if not one_of_each or WILD & set(rule.actions[0] + rule.resources[0][1]):
        return ""
    return request_page(rule.actions[0], Ref(*rule.resources[0]))
