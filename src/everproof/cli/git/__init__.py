"""`everproof git`: the hook, the SSH command, sshd's question, and their set-up.

Hooks import a module of this package and nothing beyond the standard library, so its commands are loaded only when they
are asked for.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "app":
        from everproof.cli.git.commands import app

        return app
    raise AttributeError(name)
