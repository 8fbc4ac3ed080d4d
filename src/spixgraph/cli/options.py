"""Kinds of arguments that several commands take."""

from pathlib import Path
from typing import Any

import click

from spixgraph.io.images import is_address


class ImageArgument(click.ParamType[Path | str]):
    """A path, or the address of an OME-Zarr image."""

    name = "image"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path | str:
        """Keep an address as it is: a path would lose one of its slashes."""
        return value if is_address(value) else Path(value)


def image_name(image: Path | str) -> str:
    """Return the last part of a path or an address."""
    return str(image).rstrip("/").rpartition("/")[2]
