"""Sign-on by OpenID Connect: one strict client, and a kind for each make of provider."""

from everproof.identity.sign_on.arrivals import KIND, Arrival, ProvisionedAs
from everproof.identity.sign_on.client import CALLBACK, Response
from everproof.identity.sign_on.client_authentication import NoSecretError
from everproof.identity.sign_on.errors import NotLinkedError, SignOnError
from everproof.identity.sign_on.files import Provider, read_sign_on
from everproof.identity.sign_on.kinds import ProviderKind, ProviderKinds
from everproof.identity.sign_on.room import Begun, SignOn

__all__ = [
    "CALLBACK",
    "KIND",
    "Arrival",
    "Begun",
    "NoSecretError",
    "NotLinkedError",
    "Provider",
    "ProviderKind",
    "ProviderKinds",
    "ProvisionedAs",
    "Response",
    "SignOn",
    "SignOnError",
    "read_sign_on",
]
