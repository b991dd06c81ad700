"""`everproof identity`: people, their groups and keys, and the lineage of what was issued to them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from everproof.cli import audit, clients, provisioners
from everproof.cli.terminal import Json, fields, print_json, show, table
from everproof.cli.values import name_of
from everproof.kernel.errors import InputError

app = typer.Typer(help="People, keys, services, machines, lineage.", no_args_is_help=True)
groups = typer.Typer(help="Groups, and who is in them.", no_args_is_help=True)
app.add_typer(groups, name="groups")
app.add_typer(audit.app, name="audit")
app.add_typer(clients.services, name="service")
app.add_typer(clients.gateways, name="gateway")
app.add_typer(provisioners.app, name="provisioner")
app.add_typer(clients.machines, name="machine")

Who = Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Whom: an id, or Type::id.")]
Until = Annotated[str | None, typer.Option("--until", help="When it ends, as 2027-01-31.", show_default=False)]


@app.command()
def me(*, as_json: Json = False) -> None:
    """Show whom the server takes you for."""
    from everproof.cli.client import connect

    answer = connect().request("GET", "/v1/identity/me")
    show(answer, as_json=as_json, text=_me)


@app.command("list")
def list_(
    *,
    type_: Annotated[
        str | None, typer.Option("--type", help="User, Service, Machine or Device.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """List who is on record."""
    from everproof.cli.client import connect

    client, found, after = connect(), [], ""
    while page := client.request(
        "GET", "/v1/identity/principals", query={"after": after, **({"type": type_} if type_ else {})}
    )["principals"]:
        found += page
        after = page[-1]["ref"]["id"]
    rows = [
        (
            name_of(one["ref"]),
            one.get("name"),
            ", ".join(one.get("groups", [])),
            "disabled" if one.get("disabled") else "",
        )
        for one in found
    ]
    show(found, as_json=as_json, text=lambda _: table(rows, ("principal", "name", "groups", "")))


@app.command("show")
def show_(who: Who, *, as_json: Json = False) -> None:
    """Show what is on record of someone, with their keys."""
    from everproof.cli.client import connect

    show(connect().request("GET", path_of(who)), as_json=as_json, text=known)


@app.command()
def add(
    who: Annotated[str, typer.Argument(metavar="ID", help="The person's id, such as alice.")],
    *,
    name: Annotated[str, typer.Option(help="What the person is called.")] = "",
    email: Annotated[list[str], typer.Option("--email", help="An address that the person commits as.")] = [],  # noqa: B006 - Typer's own form
    group: Annotated[list[str], typer.Option("--group", help="A group to be in.")] = [],  # noqa: B006 - Typer's own form
    ssh_key: Annotated[list[Path], typer.Option("--ssh-key", help="A file with an SSH public key.")] = [],  # noqa: B006 - Typer's own form
    as_json: Json = False,
) -> None:
    """Put a person on record, with the SSH keys they sign with.

    Where the person is to show that the key is theirs, invite them instead: everproof identity invite.
    """
    from everproof.cli.client import connect

    body = {
        "type": "User",
        "id": who,
        "name": name,
        "emails": email,
        "groups": group,
        "ssh_keys": [read_key(file) for file in ssh_key],
    }
    show(connect().request("POST", "/v1/identity/principals", json=body), as_json=as_json, text=known)


@app.command()
def invite(
    who: Annotated[str, typer.Argument(metavar="ID", help="The person's id; else they choose it.")] = "",
    *,
    email: Annotated[list[str], typer.Option("--email", help="An address that the person commits as.")] = [],  # noqa: B006 - Typer's own form
    group: Annotated[list[str], typer.Option("--group", help="A group to be in.")] = [],  # noqa: B006 - Typer's own form
    hours: Annotated[int, typer.Option(min=1, max=168, help="How long the link is good.")] = 24,
    as_json: Json = False,
) -> None:
    """Make a link, good once, by which a person enrols."""
    from everproof.cli.client import connect
    from everproof.cli.links import with_ca

    client = connect()
    body = {"user": who, "emails": email, "groups": group, "lifetime_seconds": hours * 3600}
    answer = client.request("POST", "/v1/identity/invitations", json=body)
    link = with_ca(answer["link"], client.session.ca)
    if as_json:
        print_json({**answer, "link": link})
        return
    print(f"Give this to {who or 'the person'}; it is good once, for {hours} h:\n")
    print(f"  everproof login --enrol '{link}'")


@app.command()
def disable(who: Who, *, as_json: Json = False) -> None:
    """Let someone be nobody, and end all that was issued to them."""
    _change(who, {"disabled": True}, as_json=as_json)


@app.command()
def enable(who: Who, *, as_json: Json = False) -> None:
    """Undo disable; nothing that ended comes back."""
    _change(who, {"disabled": False}, as_json=as_json)


@app.command("add-key")
def add_key(
    who: Who,
    key: Annotated[Path, typer.Argument(help="A file: the line of an SSH public key, or a public JWK.")],
    *,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """Put a key of someone on record."""
    from everproof.cli.client import connect

    body: dict[str, Any] = {"jwk": clients.read_jwk(key)} if key.suffix in {".json", ".jwk"} else {"ssh": read_key(key)}
    if until:
        body["valid_until"] = _day(until)
    answer = connect().request("POST", f"{path_of(who)}/keys", json=body)
    show(answer, as_json=as_json, text=lambda one: f"{one['name']} is now a key of {name_of(one['principal'])}")


@app.command()
def lineage(credential: Annotated[str, typer.Argument(help="A credential's id.")], *, as_json: Json = False) -> None:
    """Draw what a credential came from, and all that came from it."""
    from everproof.cli.client import connect
    from everproof.cli.tree import draw

    answer = connect().request("GET", f"/v1/identity/credentials/{credential}/lineage")
    show(answer, as_json=as_json, text=lambda one: draw(one, credential))


@groups.command("list")
def list_groups(*, as_json: Json = False) -> None:
    """List groups."""
    from everproof.cli.client import connect

    found = connect().request("GET", "/v1/identity/groups")["groups"]
    rows = [(one["id"], one.get("name"), ", ".join(one.get("groups", []))) for one in found]
    show(found, as_json=as_json, text=lambda _: table(rows, ("group", "name", "in")))


@groups.command("set")
def set_group(
    group: Annotated[str, typer.Argument(help="The group's id.")],
    *,
    name: Annotated[str, typer.Option(help="What it is called.")] = "",
    within: Annotated[list[str], typer.Option("--in", help="A group that it is in.")] = [],  # noqa: B006 - Typer's own form
    as_json: Json = False,
) -> None:
    """Make a group, or change the groups that it is in."""
    from everproof.cli.client import connect

    answer = connect().request("POST", f"/v1/identity/groups/{group}", json={"name": name, "groups": within})
    show(
        answer, as_json=as_json, text=lambda one: f"{one['id']} is in {', '.join(one.get('groups', [])) or 'no group'}"
    )


@groups.command("join")
def join(who: Who, group: Annotated[str, typer.Argument(help="The group.")], *, as_json: Json = False) -> None:
    """Let someone be in a group."""
    _change(who, {"groups": sorted({*_groups_of(who), group})}, as_json=as_json)


@groups.command("leave")
def leave(who: Who, group: Annotated[str, typer.Argument(help="The group.")], *, as_json: Json = False) -> None:
    """Take someone out of a group."""
    held = _groups_of(who)
    if group not in held:
        raise InputError(f"is not in {group}", place=who, todo=f"is in: {', '.join(held) or 'no group'}")
    _change(who, {"groups": [one for one in held if one != group]}, as_json=as_json)


def path_of(who: str) -> str:
    """The address of a principal's record."""
    from urllib.parse import quote

    from everproof.cli.values import ref

    named = ref(who, type_="User", place="PRINCIPAL")
    # A proof names the address as it is read: what an id may have needs no quoting.
    return f"/v1/identity/principals/{quote(named.type, safe='')}/{quote(named.id, safe='@+')}"


def known(answer: dict[str, Any]) -> str:
    """A principal and its keys, to read."""
    one = answer["principal"]
    about = [
        ("principal", name_of(one["ref"])),
        ("name", one.get("name")),
        ("emails", ", ".join(one.get("emails", []))),
        ("groups", ", ".join(one.get("groups", []))),
        ("enrolled", one.get("enrolled")),
        ("disabled", one.get("disabled")),
        ("kept in", one.get("source")),
    ]
    keys = [(key["name"], key["kind"], _standing(key), key["credential"]) for key in answer.get("keys", [])]
    listed = f"\n\n{table(keys, ('key', 'kind', '', 'credential'))}" if keys else ""
    return fields(about) + listed


def read_key(file: Path) -> str:
    """The line of an SSH public key in a file; a private key is never sent.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        line = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", place=str(file)) from error
    if "PRIVATE KEY" in line or "\n" in line:
        todo = f"name the public one: {file}.pub" if "PRIVATE KEY" in line else "give one key in a file"
        raise InputError("not the one line of an SSH public key", place=str(file), todo=todo)
    return line


def _change(who: str, changes: dict[str, Any], *, as_json: bool) -> None:
    from everproof.cli.client import connect

    show(connect().request("POST", path_of(who), json=changes), as_json=as_json, text=known)


def _groups_of(who: str) -> list[str]:
    from everproof.cli.client import connect

    found: list[str] = connect().request("GET", path_of(who))["principal"].get("groups", [])
    return found


def _me(answer: dict[str, Any]) -> str:
    one = answer["principal"]
    about = [
        ("principal", name_of(one["ref"])),
        ("in", ", ".join(name_of(parent) for parent in one.get("parents", []))),
        ("proved by", answer["proof"]),
        ("credential", answer["credential"]),
        ("until", answer["expires"]),
    ]
    return fields(about)


def _standing(key: dict[str, Any]) -> str:
    if key.get("revoked_at"):
        return f"revoked {key['revoked_at']} ({key.get('revoked_reason')})"
    return f"until {key['valid_until']}" if key.get("valid_until") else "good"


def _day(text: str) -> str:
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError("not a day or a time", place="--until", todo="write it as 2027-01-31") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
