"""`everproof init`: a good `.everproof/` for the repository it stands in. Nothing that is there is ever overwritten."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer

from everproof.cli import bundles
from everproof.cli.platforms import Remote, found_platforms, given_ids, read_remote, trust_file
from everproof.cli.terminal import paint, printable
from everproof.kernel.errors import InputError, NotFoundError

app = typer.Typer(help="Write an observing .everproof/ for this repository.")

DEFAULT_AUDIENCE: Final = "https://localhost:8443"
"""The address of a server that was started without any settings."""

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,18}")
_AUDIENCE: Final = re.compile(r'https://[^\s"\\]+')

CONFIGURATION: Final = """\
# How this organisation's enforcement points treat a denial. Begin by observing: what would be denied goes through, and
# is recorded as would_deny. Read `everproof ledger tail --kind decision` for a while, then enforce.

[doors]
git = "observe"
"""

TRUST: Final = """\
# Which jobs of GitHub Actions are believed, and who they are here. Trust goes by numeric ids, which never change hands;
# a name can be given up, and registered by anyone. A job asks for its token with this audience.

[issuer]
url = "https://token.actions.githubusercontent.com"
type = "github"
audience = "{audience}"

[[binding]]
name = "{name}"
id = "github/{{repository_id}}/{{run_id}}"
groups = ["jobs"]
claims = {{ repository_owner_id = "{owner_id}", repository_id = "{repository_id}" }}
"""

INSTRUCTIONS: Final = """\
# The ids of {name} are not known on this machine. To trust its jobs: ask GitHub for the two numbers,
#
#     curl -s https://api.github.com/repos/{name}
#         "id" on the first level is REPOSITORY_ID, "id" within "owner" is OWNER_ID
#
# (in a job they are GITHUB_REPOSITORY_ID and GITHUB_REPOSITORY_OWNER_ID), put them in below, rename this file to
# github.toml, and run: everproof policy check
#
"""


class _Ids(NamedTuple):
    repository: str
    owner: str


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The repository [default: this one].")] = Path(),
    *,
    audience: Annotated[
        str | None, typer.Option(help="Your server's address, which jobs ask their tokens for.", show_default=False)
    ] = None,
    repository_id: Annotated[
        str | None, typer.Option(envvar="GITHUB_REPOSITORY_ID", help="The repository's numeric id at GitHub.")
    ] = None,
    owner_id: Annotated[
        str | None, typer.Option(envvar="GITHUB_REPOSITORY_OWNER_ID", help="Its owner's numeric id at GitHub.")
    ] = None,
    id_: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="CLAIM=VALUE", help="An id at another platform, such as project_id=20."),
    ] = None,
) -> None:
    """Write an observing .everproof/ for this repository.

    It has policies to begin with, their tests, and, for each platform that runs the repository's jobs, whom of them to
    trust. Nothing that is there is overwritten.
    """
    root = _root(folder)
    target = root / bundles.FOLDER
    if audience is not None and _AUDIENCE.fullmatch(audience) is None:
        raise InputError("must be an https:// address", place="--audience")
    remote = _remote(root)
    trust = _trust_github(root, remote, audience, repository_id, owner_id)
    for one in found_platforms(root, remote):
        name, text = trust_file(one, remote, audience or _audience(), given_ids(id_ or []))
        if not (root / bundles.FOLDER / name.removesuffix(".example")).exists():
            trust[name] = text
    wanted = {"everproof.toml": CONFIGURATION, **_policies(target), **trust}
    for name, content in wanted.items():
        print(f"  {_write(target / name, content):<8}{bundles.FOLDER}/{name}")
    bundle = bundles.load(str(root))
    count = f"{len(bundle.policies)} policies and {len(bundle.trials)} tests"
    print(f"\n{paint('good', 'good')}: {count} in {printable(target)}")
    for name in trust:
        if name.endswith(".example"):
            print(f"→ its jobs are not trusted yet: {name} says what is missing")
    print("→ run the tests, and let the bundle rule:")
    print("    everproof policy test")
    print(f"    git add {bundles.FOLDER} && git commit -S -m 'Begin with Everproof, observing'")
    print("    everproof policy apply HEAD")


def _root(folder: Path) -> Path:
    if not folder.is_dir():
        raise NotFoundError("there is no such folder", place=str(folder))
    try:
        top = bundles.git(folder, "rev-parse", "--show-toplevel").decode().strip()
    except NotFoundError as error:
        raise NotFoundError(
            "this is not the working folder of a git repository",
            place=str(folder.resolve()),
            todo="begin with: git init",
        ) from error
    return Path(top)


def _policies(target: Path) -> dict[str, str]:
    """The starter policies, unless there are policies: two bundles in one would contradict each other."""
    if (target / "policies").is_dir():
        return {}
    from everproof.policy import starter_files

    return {name: content.decode() for name, content in sorted(starter_files().items())}


def _trust_github(
    root: Path, remote: Remote | None, audience: str | None, repository_id: str | None, owner_id: str | None
) -> dict[str, str]:
    """The trust file of a repository at GitHub; where its ids are not known, an example that trusts nobody."""
    name = _github_name(remote)
    given = repository_id is not None and owner_id is not None
    if name is None and not given:
        return {}
    ids = _Ids(repository_id, owner_id) if repository_id and owner_id else _ask_github(name or "")
    if ids is not None and not all(_NUMBER.fullmatch(one) for one in ids):
        raise InputError("must be a number: names can change hands", place="--repository-id, --owner-id")
    text = TRUST.format(
        audience=audience or _audience(),
        name=name or f"repository-{ids.repository if ids else ''}",
        repository_id=ids.repository if ids else "REPOSITORY_ID",
        owner_id=ids.owner if ids else "OWNER_ID",
    )
    if ids is not None:
        return {"trust/github.toml": text}
    if (root / bundles.FOLDER / "trust" / "github.toml").exists():
        return {}
    return {"trust/github.toml.example": INSTRUCTIONS.format(name=name) + text}


def _remote(root: Path) -> Remote | None:
    try:
        return read_remote(bundles.git(root, "remote", "get-url", "origin").decode().strip())
    except NotFoundError:
        return None


def _github_name(remote: Remote | None) -> str | None:
    """``OWNER/NAME`` of the remote, where it is at GitHub."""
    if remote is None or remote.host != "github.com":
        return None
    return remote.path if re.fullmatch(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+", remote.path) else None


def _ask_github(name: str) -> _Ids | None:
    """The ids as GitHub's own command line tells them, where it is installed and logged in."""
    gh = shutil.which("gh")
    if gh is None or not name:
        return None
    query = [gh, "api", f"repos/{name}", "--jq", '"\\(.id) \\(.owner.id)"']
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 - a name that was matched
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = done.stdout.split()
    return _Ids(*said) if done.returncode == 0 and len(said) == len(_Ids._fields) else None


def _audience() -> str:
    """The address of the server that this machine is logged in to, else the default one."""
    from everproof.cli import session
    from everproof.kernel.errors import Error

    try:
        return session.load().server
    except Error:
        return DEFAULT_AUDIENCE


def _write(path: Path, content: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except FileExistsError:
        return "kept"
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    return "wrote"
