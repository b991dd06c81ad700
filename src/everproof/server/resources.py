"""The resources that doors ask about, of which each server has one."""

from typing import Final

from everproof.kernel.words import MAIN_SPACE, Ref, Resource

LEDGER: Final = Resource(ref=Ref("Ledger", "organisation"), parents=(MAIN_SPACE,))
SERVER: Final = Resource(ref=Ref("Server", "organisation"), parents=(MAIN_SPACE,))
