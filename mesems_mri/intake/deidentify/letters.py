"""Letters of names and words in base Latin form, so that two spellings of one word can be compared."""

import unicodedata

SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "æ": "ae", "œ": "oe"})
"""Letters that are written as two where a keyboard lacks them."""
_LATIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "\u0131": "i", "ß": "ss", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"}
    | dict(zip("αβγδεζηικλμνξοπρσςτυφω", "avgdeziiklmnxoprsstyfo", strict=True))
    | {"θ": "th", "χ": "ch", "ψ": "ps"}
)


def latin_letters(text: str) -> str:
    """Return a text in lower-case Latin letters without accents, Greek transliterated.

    Examples
    --------
    >>> latin_letters("Før"), latin_letters("χωρίς")
    ('for', 'choris')
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
    return plain.translate(_LATIN)
