"""This server as an OpenID provider: who may ask it who somebody is, and what it answers."""

from everproof.identity.provider.clients import CLI, SIGN_IN_HERE, Client, clients_of
from everproof.identity.provider.room import Provider

__all__ = ["CLI", "SIGN_IN_HERE", "Client", "Provider", "clients_of"]
