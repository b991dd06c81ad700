"""How much one request may ask: every reader of a client's words is bounded before it begins."""

from typing import Final

DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 500
"""Resources in one answer: with all that may be said of each, some 2 MB."""

MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes: a group of 10,000 with references and names is half of it."""

MAX_OPERATIONS: Final = 1_000
"""Of one bulk: each is a decision and a commit of its own."""

MAX_PATCHES: Final = 200
"""Operations of one PATCH, but for those that name members. An honest one has as many as a person has attributes."""

MAX_MEMBER_PATCHES: Final = 2_000
"""Operations of one PATCH in all. Each may name any number of members; a path of each is read."""

MAX_EXPRESSION: Final = 4_096
"""Characters of a filter or path."""

MAX_NESTING: Final = 32
"""Brackets of any kind that are open at once in a filter or path. The longest honest filter has three."""

MAX_TERMS: Final = 200
"""Comparisons of one filter: each is made with every resource that is looked at."""

CURSOR_SECONDS: Final = 3_600
"""How long a cursor is good. A client that pages asks for the next page within seconds."""
