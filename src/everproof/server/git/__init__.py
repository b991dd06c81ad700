"""The server's side of the git door."""

from everproof.server.git.door import GitDoor
from everproof.server.git.routes import routes

__all__ = ["GitDoor", "routes"]
