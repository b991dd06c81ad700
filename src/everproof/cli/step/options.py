"""What `everproof run` was told, read the short way.

The command line's library takes longer to load than all of a step's own work, so the words of a well-formed call are
read here; whatever is not, and `--help`, goes the long way, which knows how to complain.
"""

from typing import Final, NamedTuple

STAGES: Final = ("build", "test", "publish", "deploy")
GRACE_SECONDS: Final = 60
"""How long a step goes on while the server cannot be reached: a restart, not an outage."""


class Options(NamedTuple):
    """What is asked for. ``proof`` is one of auto, github, session, env:NAME, file:PATH."""

    stage: str
    command: tuple[str, ...]
    on: str = ""
    env: tuple[str, ...] = ()
    proof: str = "auto"
    server: str = ""
    ca: str = ""
    audience: str = ""
    lifetime: int = 0
    grace: int = GRACE_SECONDS
    timeout: int = 0
    record_arguments: bool = False


_TEXT: Final = ("stage", "on", "proof", "server", "ca", "audience")
_SECONDS: Final = ("lifetime", "grace", "timeout")


def read(words: list[str]) -> Options | None:
    """The options of ``words``, which follow ``everproof run``; None where they must be read the long way."""
    given: dict[str, object] = {}
    env: list[str] = []
    at = 0
    while at < len(words) and words[at] != "--":
        name, has_value, value = words[at].partition("=")
        option = name[2:].replace("-", "_") if name.startswith("--") else ""
        if option == "record_arguments" and not has_value:
            given[option] = True
            at += 1
            continue
        if option not in _TEXT + _SECONDS + ("env",) or option in given:
            return None
        if not has_value:
            at += 1
            if at >= len(words) or words[at].startswith("-"):
                return None
            value = words[at]
        if option == "env":
            env.append(value)
        elif option in _TEXT:
            given[option] = value
        elif value.isascii() and value.isdigit():
            given[option] = int(value)
        else:
            return None
        at += 1
    command = tuple(words[at + 1 :])
    if not command or given.get("stage") not in STAGES:
        return None
    return Options(**{**given, "env": tuple(env), "command": command})  # type: ignore[arg-type]
