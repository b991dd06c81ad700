"""The bundle that rules before there is another, and that `everproof init` gives to copy."""

from functools import cache
from importlib import resources
from typing import Final

from everproof.policy.bundle import Bundle, load_bundle

_FOLDER: Final = resources.files("everproof.policy").joinpath("starter", "policies")


def starter_files() -> dict[str, bytes]:
    """The files of the built-in bundle, by path."""
    return {f"policies/{file.name}": file.read_bytes() for file in _FOLDER.iterdir() if file.is_file()}


@cache
def starter_bundle() -> Bundle:
    """The built-in bundle."""
    return load_bundle(starter_files(), commit="")
