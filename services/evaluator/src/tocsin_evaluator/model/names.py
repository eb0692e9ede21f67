"""Names of merchants, made comparable."""

import unicodedata


def normalised(name: str) -> str:
    """NFKC, case-folded, white space squeezed; case-folding can undo NFKC, so it is applied once more (UAX 15)."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())
