"""The pages: what people use in a browser. They decide nothing; what they do, the doors of the same name do."""

from everproof.server.console.console import Console

__all__ = ["Console"]
