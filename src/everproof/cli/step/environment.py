"""What of the environment a step is given: what it needs to run, what it was given by name, and nothing else."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

from everproof.kernel.errors import InputError

PASSED: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "TMPDIR", "CI",
)  # fmt: skip

NEVER: Final = (
    "ACTIONS_*", "CI_JOB_JWT*", "*_TOKEN", "*_TOKEN_V2", "*TOKEN", "CI_*PASSWORD", "EVERPROOF_*", "SSH_AUTH_SOCK",
    "LD_*",
)  # fmt: skip
"""What proves the whole job, or could: the identity that the step's own credential is there to replace."""

SESSION: Final = "EVERPROOF_SESSION"
STAGE: Final = "EVERPROOF_STAGE"


def scrubbed(inherited: Mapping[str, str], names: Iterable[str], *, proof: str = "") -> dict[str, str]:
    """The environment of a step; ``names`` are NAME or NAME=VALUE, ``proof`` the variable that proved the job.

    Raises:
        InputError: a name that no step is given.
    """
    given = {name: inherited[name] for name in PASSED if name in inherited}
    for one in names:
        name, has_value, value = one.partition("=")
        if not name or "\0" in one:
            raise InputError("name a variable, as in NAME or NAME=VALUE", place="--env")
        if name == proof or any(fnmatchcase(name.upper(), pattern) for pattern in NEVER):
            todo = "let the step ask for what it needs with its own credential"
            raise InputError(f"{name} proves more than one stage, and is given to none", place="--env", todo=todo)
        if has_value:
            given[name] = value
        elif name in inherited:
            given[name] = inherited[name]
    return given
