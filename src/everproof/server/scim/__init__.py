"""SCIM 2.0 (RFC 7643, 7644, 9865): the door by which a company's directory keeps people and groups here."""

from everproof.server.scim.door import ScimDoor, error_form

__all__ = ["ScimDoor", "error_form"]
