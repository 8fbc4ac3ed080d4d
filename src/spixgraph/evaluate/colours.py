"""Class colours that colour-blind readers can tell apart."""

import colorsys
import re
from collections.abc import Sequence

import numpy as np

from spixgraph.arrays import UInt8
from spixgraph.errors import InputError

_BACKGROUND = "#14181c"
_OKABE_ITO = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
_GOLDEN = 0.6180339887498949


def default_colours(n: int) -> tuple[str, ...]:
    """Give `n` distinct colours ``#rrggbb``, class 0, the background, dark.

    Classes 1-7 have the palette of Okabe and Ito, which holds under the common forms of colour
    blindness (https://jfly.uni-koeln.de/color/); further ones walk the hues by the golden ratio.
    """
    if n < 0:
        raise InputError(f"the number of colours must be >= 0, got {n}")
    named = (_BACKGROUND, *_OKABE_ITO)
    return (*named[:n], *(_walked(i) for i in range(n - len(named))))


def rgb_table(colours: Sequence[str]) -> UInt8:
    """Turn colours ``#rrggbb`` into a (K, 3) uint8 table.

    Raises
    ------
    InputError
        If a colour has another form; the message names it.
    """
    for colour in colours:
        if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
            raise InputError(f"a colour is written #rrggbb, got {colour!r}")
    rows = [tuple(bytes.fromhex(colour[1:])) for colour in colours]
    return np.array(rows, np.uint8).reshape(-1, 3)


def _walked(i: int) -> str:
    """Give the i-th colour past the palette."""
    hue, lightness = (i * _GOLDEN) % 1.0, (0.45, 0.62, 0.78)[i % 3]
    rgb = colorsys.hls_to_rgb(hue, lightness, 0.65)
    return "#" + "".join(f"{round(255 * value):02x}" for value in rgb)
