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
def stored_data_errors(path: Path | str) -> Iterator[None]:
    """Turn whatever a decoder raises on a broken file into a `StoredDataError`.

    Decoders answer a truncated or corrupt file with almost any built-in error. Inside this block
    there are calls of decoders only, so that an error of ours is not hidden. For an address, the
    errors of its file system count, too; those share no base class.
    """
    try:
        yield
    except SpixError:
        raise
    except MemoryError as error:
        raise ResourceError(f"{path} does not fit in memory; save it as a tiled TIFF") from error
    except Exception as error:  # decoders and file systems share no base class
        if isinstance(path, Path) and not isinstance(error, _DECODER_ERRORS):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        remedy = (
            "it may be truncated, corrupt or not what its suffix says: copy or save it again"
            if isinstance(path, Path)
            else "check the address, the connection and your rights"
        )
        raise StoredDataError(f"{path} cannot be read ({reason[:200]}); {remedy}") from error
