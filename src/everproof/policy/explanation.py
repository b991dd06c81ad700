"""Why a decision is as it is, as data and as text."""

from typing import Literal, TypeAlias

import msgspec

Audience: TypeAlias = Literal["caller", "auditor"]


class Explanation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why."""

    summary: str

    def text(self) -> str:
        """The explanation for a terminal."""
        return self.summary
