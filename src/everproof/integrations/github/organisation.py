"""GitHub: who is in an organisation, its teams and its repositories.

docs.github.com, REST: "Organization members", "Team members" (teams by number, ``/organizations/{id}/team/{id}``),
"Collaborators", "Repository invitations". Where the API wants a login, the account's is asked for by its number right
before, so a login that changed hands is nobody else's.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from everproof.integrations.rest import RefusalError, Rest, UnseenError
from everproof.kernel.errors import ConflictError
from everproof.provisioning.memberships import Change, Held, Kind, Looked, Place

ROLES: Final[Mapping[Kind, Sequence[str]]] = {
    "organisation": ("member", "owner"),
    "team": ("member", "maintainer"),
    "repository": ("read", "triage", "write", "maintain", "admin"),
}
PERMISSIONS: Final = {"read": "pull", "triage": "triage", "write": "push", "maintain": "maintain", "admin": "admin"}
_API_ROLES: Final = {"member": "member", "owner": "admin"}
_CONFLICT: Final = 422


class Account(msgspec.Struct, frozen=True):
    """An account as lists have it."""

    id: int
    login: str


class _Collaborator(msgspec.Struct, frozen=True):
    id: int
    login: str
    role_name: str


class _Invitation(msgspec.Struct, frozen=True):
    id: int
    login: str | None = None
    email: str | None = None
    role: str = ""


class _Membership(msgspec.Struct, frozen=True):
    role: str = "member"


class _RepositoryInvitation(msgspec.Struct, frozen=True):
    id: int
    permissions: str
    invitee: Account | None = None


class _Numbered(msgspec.Struct, frozen=True):
    id: int


class GitHubOrganisation:
    """One organisation by its login now: as in ``Organisation``."""

    platform = "github"
    roles = ROLES

    def __init__(self, rest: Rest, login: str) -> None:
        self._rest = rest
        self._login = login

    async def look(self, places: Sequence[Place], accounts: Sequence[str]) -> Looked:
        """As in ``Organisation``."""
        organisation = places[0]
        await self._require(f"/orgs/{self._login}", organisation)
        known = {login.lower(): account for account in accounts if (login := await self._login_of(account))}
        held: dict[Place, Mapping[str, Held]] = {}
        unknown: list[str] = []
        for place in places:
            if place.kind == "organisation":
                held[place] = await self._members(known, unknown)
            elif place.kind == "team":
                held[place] = await self._team(organisation, place, known)
            else:
                held[place] = await self._collaborators(place)
        return Looked(held, tuple(unknown))

    async def change(self, organisation: Place, change: Change) -> None:
        """As in ``Organisation``."""
        await self._require(f"/orgs/{self._login}", organisation)
        login = await self._login_of(change.account)
        if login is None:
            if change.removes:
                return
            raise ConflictError(f"there is no account {change.account}", place=str(change.place))
        place = change.place
        if place.kind == "organisation":
            await self._change_member(change, login)
        elif place.kind == "team":
            path = f"{_team(organisation, place)}/memberships/{quote(login, safe='')}"
            if change.removes:
                await self._rest.send("DELETE", path, gone=True)
            else:
                await self._rest.send("PUT", path, {"role": change.after})
        else:
            await self._change_collaborator(change, login)

    async def _members(self, known: Mapping[str, str], unknown: list[str]) -> dict[str, Held]:
        found = {}
        for role, api_role in _API_ROLES.items():
            for one in await self._rest.pages(f"/orgs/{self._login}/members", Account, query=f"role={api_role}"):
                found[str(one.id)] = Held(account=str(one.id), role=role, login=one.login)
        for invited in await self._invitations():
            account = known.get((invited.login or "").lower())
            if account is None:
                unknown.append(invited.login or invited.email or f"invitation {invited.id}")
            elif account not in found:
                role = "owner" if invited.role == "admin" else "member"
                found[account] = Held(account=account, role=role, login=invited.login or "", pending=True)
        return found

    async def _team(self, organisation: Place, place: Place, known: Mapping[str, str]) -> dict[str, Held]:
        path, found = _team(organisation, place), {}
        for role in ROLES["team"]:
            for one in await self._rest.pages(f"{path}/members", Account, query=f"role={role}"):
                found[str(one.id)] = Held(account=str(one.id), role=role, login=one.login)
        for invited in await self._rest.pages(f"{path}/invitations", _Invitation):
            account = known.get((invited.login or "").lower())
            if account is not None and account not in found:
                # Whoever is invited to the organisation has no role in the team yet, so it is asked for by name.
                at = f"{path}/memberships/{quote(invited.login or '', safe='')}"
                waiting = await self._rest.get(at, _Membership)
                found[account] = Held(account=account, role=waiting.role, login=invited.login or "", pending=True)
        return found

    async def _collaborators(self, place: Place) -> dict[str, Held]:
        path = await self._repository(place)
        found = {
            str(one.id): Held(account=str(one.id), role=one.role_name, login=one.login)
            for one in await self._rest.pages(f"{path}/collaborators", _Collaborator, query="affiliation=direct")
        }
        for invited in await self._rest.pages(f"{path}/invitations", _RepositoryInvitation):
            if invited.invitee is not None:
                account = str(invited.invitee.id)
                found.setdefault(
                    account,
                    Held(account=account, role=invited.permissions, login=invited.invitee.login, pending=True),
                )
        return found

    async def _change_member(self, change: Change, login: str) -> None:
        path = f"/orgs/{self._login}"
        membership = f"{path}/memberships/{quote(login, safe='')}"
        if change.removes:
            for invited in await self._invitations():
                if (invited.login or "").lower() == login.lower():
                    await self._rest.send("DELETE", f"{path}/invitations/{invited.id}", gone=True)
            await self._rest.send("DELETE", membership, gone=True)
        elif change.before and not change.pending:
            await self._rest.send("PUT", membership, {"role": _API_ROLES[change.after]})
        else:
            role = "admin" if change.after == "owner" else "direct_member"
            try:  # by number, which no login can stand in for
                await self._rest.send("POST", f"{path}/invitations", {"invitee_id": int(change.account), "role": role})
            except RefusalError as error:
                if error.answered != _CONFLICT:
                    raise
                # Invited or a member already, by an attempt whose answer was lost, or by somebody else.
                await self._rest.send("PUT", membership, {"role": _API_ROLES[change.after]})

    async def _change_collaborator(self, change: Change, login: str) -> None:
        path = await self._repository(change.place)
        collaborator = f"{path}/collaborators/{quote(login, safe='')}"
        for invited in await self._rest.pages(f"{path}/invitations", _RepositoryInvitation):
            if invited.invitee is not None and str(invited.invitee.id) == change.account:
                await self._rest.send("DELETE", f"{path}/invitations/{invited.id}", gone=True)
        if change.removes:
            await self._rest.send("DELETE", collaborator, gone=True)
        else:
            await self._rest.send("PUT", collaborator, {"permission": PERMISSIONS[change.after]})

    async def _invitations(self) -> list[_Invitation]:
        return await self._rest.pages(f"/orgs/{self._login}/invitations", _Invitation)

    async def _login_of(self, account: str) -> str | None:
        """What the account is called now; None where there is no such account any more."""
        try:
            found = await self._rest.get(f"/user/{account}", Account)
        except UnseenError:
            return None
        if str(found.id) != account:
            raise ConflictError(f"answers for the account {found.id}", place=f"account {account}")
        return found.login

    async def _repository(self, place: Place) -> str:
        path = f"/repos/{quote(place.name, safe='/')}"
        await self._require(path, place)
        return path

    async def _require(self, path: str, place: Place) -> None:
        """Whoever has given a name up, another may have it: it must still be that of ``place``."""
        found = await self._rest.get(path, _Numbered)
        if str(found.id) != place.id:
            raise ConflictError(
                f"is the number {found.id} by now, not {place.id}",
                place=f"{self._rest.name} {path}",
                todo="somebody else has this name; put right what memberships.toml or server.toml says",
            )


def _team(organisation: Place, place: Place) -> str:
    return f"/organizations/{organisation.id}/team/{place.id}"
