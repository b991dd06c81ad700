"""Secrets that are leased: given for a while by a decision, on record while they live, and ended at their end.

The first of them: tokens of repositories at their platforms.
"""

from everproof.secrets.repositories import Access, HostError, Level, Minted, NotMadeError, RepositoryHost, TokenText
from everproof.secrets.repository_tokens import Issued, Lease, RepositoryTokens

__all__ = [
    "Access",
    "HostError",
    "Issued",
    "Lease",
    "Level",
    "Minted",
    "NotMadeError",
    "RepositoryHost",
    "RepositoryTokens",
    "TokenText",
]
