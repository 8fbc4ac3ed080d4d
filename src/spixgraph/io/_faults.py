"""Errors of the format libraries become one line that names the file."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tifffile import TiffFileError

from spixgraph.errors import ResourceError, SpixError, StoredDataError

_DECODER_ERRORS = (
    OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, AssertionError,
    SyntaxError, ArithmeticError, EOFError, struct.error, zlib.error, TiffFileError,
)  # fmt: skip


@contextmanager
def stored_data_errors(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on a broken file into a `StoredDataError`.

    Decoders answer a truncated or corrupt file with almost any built-in error. Inside this block
    there are calls of decoders only, so that an error of ours is not hidden.
    """
    try:
        yield
    except SpixError:
        raise
    except MemoryError as error:
        raise ResourceError(f"{path} does not fit in memory; save it as a tiled TIFF") from error
    except _DECODER_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StoredDataError(
            f"{path} cannot be read ({reason[:200]}); it may be truncated, corrupt or not what "
            "its suffix says: copy or save it again"
        ) from error
