"""Joiners, movers and leavers, and what they are members of elsewhere."""
