"""The resources that doors ask about, of which each server has one."""

from typing import Final

from everproof.kernel.words import Ref, Resource

SPACE: Final = Ref("Space", "main")
LEDGER: Final = Resource(ref=Ref("Ledger", "organisation"), parents=(SPACE,))
BUNDLE: Final = Resource(ref=Ref("Bundle", "organisation"), parents=(SPACE,))
SERVER: Final = Resource(ref=Ref("Server", "organisation"), parents=(SPACE,))
