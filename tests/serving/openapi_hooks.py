"""What schemathesis sends as an image: sound ones, so that it gets behind the first check."""

import schemathesis
from hypothesis import strategies as st

from tests.serving.bad_images import png, tiff
from tests.serving.server import grey_pixels

schemathesis.openapi.format(
    "binary", st.sampled_from([png(), tiff(grey_pixels(40)), b"no image", b""])
)
