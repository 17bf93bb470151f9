"""Reduce free text and coded values to the words of an allow-list."""

import re
from collections.abc import Collection

from mesems_mri.intake.deidentify.letters import latin_letters
from mesems_mri.intake.deidentify.vocabulary import CODES

_TOKEN = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)*|.", re.DOTALL)
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NUMBER = re.compile(r"\d{1,3}(?:[.,]\d{1,3})?")
_ALLOWED_SEPARATORS = " _-.+*()/%"
_MAX_DIGITS_IN_A_ROW = 4
"""Numbers with no letters between them: a matrix or a resolution, but no date, telephone or record number."""
_MAX_CODE_DIGITS = 4
_MAX_SHORT = 3
_FREE_LETTERS = 2
"""A coded value may hold unlisted groups of so few letters: no name that we look for is as short."""


def allow_listed_text(text: str, vocabulary: Collection[str]) -> tuple[str, bool]:
    """Reduce a text to its allow-listed words and short numbers.

    Parameters
    ----------
    text : str
        What a site typed.
    vocabulary : collection of str
        Allow-listed words, in lower case.

    Returns
    -------
    str
        The rest of the text; separators are simplified.
    bool
        True if nothing but separators was removed.

    Examples
    --------
    >>> allow_listed_text("t1_mprage_sag Mueller 12.04.1961", {"t", "mprage", "sag"})
    ('t1_mprage_sag', False)
    """
    tokens = _TOKEN.findall(text)
    kept = [_is_known(token, vocabulary) for token in tokens]
    _drop_long_rows_of_numbers(tokens, kept)
    complete = True
    pieces: list[str] = []
    for token, keep in zip(tokens, kept, strict=True):
        if keep:
            pieces.append(token if token.isascii() else latin_letters(token))
        elif token.isalnum() or "." in token[1:]:
            complete = False
            pieces.append(" ")
        else:
            pieces.append(token if token in _ALLOWED_SEPARATORS else " ")
    joined = re.sub(r"([ _\-.+*/%])[ _\-.+*/%]+", r"\1", "".join(pieces))
    return joined.replace("()", "").strip(" _-.+/%"), complete


def allow_listed_code(text: str) -> str | None:
    """Return a coded value if all its words are allow-listed (standard and vendors), else None.

    Examples
    --------
    >>> allow_listed_code("FAST_GEMS"), allow_listed_code("MUELLER")
    ('FAST_GEMS', None)
    """
    text = text.strip()
    if not re.fullmatch(r"[\w \-/.*%+\\]*", text, re.ASCII):
        return None
    runs = re.findall(r"[A-Za-z]+", text)
    short = [run for run in runs if len(run) <= _FREE_LETTERS]
    if len(short) > _MAX_SHORT or any(run.lower() not in CODES for run in runs if len(run) > _FREE_LETTERS):
        return None
    return text if sum(char.isdigit() for char in text) <= _MAX_CODE_DIGITS else None


def _is_known(token: str, vocabulary: Collection[str]) -> bool:
    if token[0].isdigit():
        return token.isascii() and _NUMBER.fullmatch(token) is not None
    if not token.isalpha():
        return False
    if not token.isascii():
        return latin_letters(token) in vocabulary
    if token.lower() in vocabulary:
        return True
    parts = _CAMEL.findall(token)
    return len(parts) > 1 and all(part.lower() in vocabulary for part in parts)


def _drop_long_rows_of_numbers(tokens: list[str], kept: list[bool]) -> None:
    """Drop numbers with no word between them that have too many digits together; known or not, they count."""
    row: list[int] = []
    for at in range(len(tokens) + 1):
        token = tokens[at] if at < len(tokens) else "end"
        if token[0].isdigit():
            row.append(at)
        elif token[0].isalpha():
            if sum(char.isdigit() for i in row for char in tokens[i]) > _MAX_DIGITS_IN_A_ROW:
                for i in row:
                    kept[i] = False
            row = []
