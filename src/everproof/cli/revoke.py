"""`everproof revoke`: ends a credential or a key, and all that descends from it, before it answers."""

from typing import Annotated, Literal

import typer

from everproof.cli.terminal import Json, paint, print_json, printable

app = typer.Typer(help="End a credential or key, and all that descends from it.")


@app.command()
def revoke(
    what: Annotated[
        str, typer.Argument(metavar="CREDENTIAL|KEY", help="A credential's id, or a key's fingerprint or thumbprint.")
    ],
    *,
    reason: Annotated[
        Literal["compromised", "superseded", "other"],
        typer.Option(help="Of a compromised key nothing is believed, whenever it was signed."),
    ] = "other",
    as_json: Json = False,
) -> None:
    """End a credential or key, and all that descends from it.

    When this returns, none of it opens anything any more.
    """
    from everproof.cli.client import connect

    # A certificate is revoked by its name: as a credential it may never have been put on record.
    named = {"credential": what} if what.startswith("cred_") else {"key": what.removeprefix("cert_")}
    answer = connect().request("POST", "/v1/identity/revoke", json={**named, "reason": reason})
    if as_json:
        print_json(answer)
        return
    count = len(answer["ended"])
    print(f"{paint('revoked', 'good')}: {printable(what)}; {count} credential{'' if count == 1 else 's'} ended")
    for one in answer["ended"]:
        print(f"  {printable(one)}")
    print(paint(f"recorded as {printable(answer['entry'])}", "faint"))
