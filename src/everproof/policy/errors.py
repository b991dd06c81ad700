"""What is wrong with a bundle, at which place, with the line itself."""

from everproof.kernel.errors import InputError


class BundleError(InputError):
    """A bundle that cannot rule. ``place`` is ``file:line:column``; ``excerpt`` shows the line with a mark under it.

    ``further`` has what else is wrong with the same bundle, so that a person mends it in one go.
    """

    code = "bad-bundle"

    def __init__(
        self,
        message: str,
        *,
        place: str | None = None,
        todo: str | None = None,
        excerpt: str = "",
        further: tuple["BundleError", ...] = (),
    ) -> None:
        super().__init__(message, place=place, todo=todo)
        self.excerpt = excerpt
        self.further = further

    def __str__(self) -> str:
        first = super().__str__()
        return f"{first}\n{self.excerpt}" if self.excerpt else first


def all_at_once(errors: list[BundleError]) -> BundleError:
    """The first of ``errors``, with the rest as its ``further``."""
    first, *rest = errors
    first.further = tuple(rest)
    return first
