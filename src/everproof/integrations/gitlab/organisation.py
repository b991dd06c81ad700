"""GitLab: who is in a group, its subgroups and its projects, directly.

docs.gitlab.com, "Group and project members API". All of it goes by numbers. A member is there at once: what GitLab
calls an invitation is for addresses that have no account, and is not used.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from everproof.integrations.rest import RefusalError, Rest
from everproof.provisioning.memberships import Change, Held, Kind, Looked, Place

LEVELS: Final = {
    "minimal": 5,
    "guest": 10,
    "planner": 15,
    "reporter": 20,
    "developer": 30,
    "maintainer": 40,
    "owner": 50,
}
ROLES: Final[Mapping[Kind, Sequence[str]]] = {
    "organisation": tuple(LEVELS),
    "team": tuple(LEVELS),
    "repository": tuple(name for name in LEVELS if name != "minimal"),
}
_NAMES: Final = {level: name for name, level in LEVELS.items()}
_EXISTS: Final = 409


class _Member(msgspec.Struct, frozen=True):
    id: int
    username: str
    access_level: int
    bot: bool = False


class GitLabOrganisation:
    """One group: as in ``Organisation``. The accounts of group and project access tokens are not members for us."""

    platform = "gitlab"
    roles = ROLES

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def look(self, places: Sequence[Place], accounts: Sequence[str]) -> Looked:  # noqa: ARG002 - it lists numbers
        """As in ``Organisation``."""
        held: dict[Place, Mapping[str, Held]] = {}
        for place in places:
            found = await self._rest.pages(f"{_path(place)}/members", _Member)
            held[place] = {
                str(one.id): Held(
                    account=str(one.id),
                    role=_NAMES.get(one.access_level, f"level {one.access_level}"),
                    login=one.username,
                )
                for one in found
                if not one.bot
            }
        return Looked(held)

    async def change(self, organisation: Place, change: Change) -> None:  # noqa: ARG002 - places go by their own number
        """As in ``Organisation``."""
        path = f"{_path(change.place)}/members"
        if change.removes:
            await self._rest.send("DELETE", f"{path}/{change.account}", gone=True)
            return
        level = {"access_level": LEVELS[change.after]}
        if not change.before:
            try:
                await self._rest.send("POST", path, {"user_id": int(change.account), **level})
            except RefusalError as error:
                if error.answered != _EXISTS:
                    raise
            else:
                return
        await self._rest.send("PUT", f"{path}/{change.account}", level)


def _path(place: Place) -> str:
    return f"/{'projects' if place.kind == 'repository' else 'groups'}/{place.id}"
