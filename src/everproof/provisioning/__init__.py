"""Joiners, movers and leavers, and what they are members of elsewhere."""

from everproof.provisioning.lifecycle import Lifecycle
from everproof.provisioning.reach import AtOnce, Item, Kind, Movement, Reach
from everproof.provisioning.room import Provisioning

__all__ = ["AtOnce", "Item", "Kind", "Lifecycle", "Movement", "Provisioning", "Reach"]
