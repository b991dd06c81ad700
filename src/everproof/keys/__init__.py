"""The root key, the keyring, data keys for each subject, and the keys that sign."""

from everproof.keys.envelope import SealError
from everproof.keys.jwk import PrivateKey, PublicKey, public_jwk, thumbprint
from everproof.keys.keyring import ErasedError, Keyring, Sealed
from everproof.keys.root import RootKey, RootKeyError, open_root_key
from everproof.keys.signing import Algorithm, SigningKey, SigningKeys, TokenAlgorithm

__all__ = [
    "Algorithm",
    "ErasedError",
    "Keyring",
    "PrivateKey",
    "PublicKey",
    "RootKey",
    "RootKeyError",
    "SealError",
    "Sealed",
    "SigningKey",
    "SigningKeys",
    "TokenAlgorithm",
    "open_root_key",
    "public_jwk",
    "thumbprint",
]
