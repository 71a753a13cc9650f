"""Pictures that a video may begin with."""

from config import env

# The most that a picture may have, and that is fetched of one; 20 MB is OpenAI's limit.
REFERENCE_MAX_BYTES = env.integer("REFERENCE_MAX_BYTES", 20_971_520, least=1_024, most=268_435_456)
# Two of them, with the other fields of a create.
REFERENCE_FORM_MAX_BYTES = 2 * REFERENCE_MAX_BYTES + 1_048_576
# Compared before anything is decoded. While a picture is decoded it takes about eight bytes for each pixel.
REFERENCE_MAX_PIXELS = env.integer("REFERENCE_MAX_PIXELS", 32_000_000, least=1, most=250_000_000)
# For the whole fetch of a picture by its address.
REFERENCE_FETCH_SECONDS = env.number("REFERENCE_FETCH_SECONDS", 20, least=1, most=300)
