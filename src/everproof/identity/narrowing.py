"""How a token that comes from another is held within it: its scope, and its stage."""

from everproof.identity.oauth import InvalidRequestError, InvalidScopeError
from everproof.kernel.words import Attributes


def narrowed(asked: tuple[str, ...], within: tuple[str, ...]) -> tuple[str, ...]:
    """The scope that is ``asked`` for, or all of what it must not leave.

    Raises:
        InvalidScopeError: it would leave it.
    """
    if not asked:
        return within
    if within and not set(asked) <= set(within):
        wider = min(set(asked) - set(within))
        raise InvalidScopeError(f"{wider} is not in the scope of the token that this comes from", place="scope")
    return asked


def common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """What both scopes hold, where none is no bound: a narrowed token is not widened by acting for another.

    Raises:
        InvalidScopeError: there is nothing that both hold.
    """
    if not (one and other):
        return one or other
    if not (both := tuple(name for name in one if name in other)):
        raise InvalidScopeError("the two tokens have no scope in common", place="actor_token")
    return both


def within_stage(said: Attributes, actor: Attributes) -> Attributes:
    """What the subject's token says, within the actor's stage: nobody leaves a stage by acting for another.

    Raises:
        InvalidRequestError: the two are for different stages.
    """
    stage = actor.get("stage")
    if stage is not None and said.get("stage") not in {None, stage}:
        raise InvalidRequestError("the two tokens are for different stages", place="actor_token")
    return said if stage is None else {**said, "stage": stage}
