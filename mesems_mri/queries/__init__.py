"""Queries to the sites: what is wrong with what was sent, and what the site should do.

They lie in ``queries.tsv`` of the BIDS folder, one row each, for ever: a query is closed and never removed. A
visit with an open blocking query is not evaluable (``open_query``); nothing else waits for it.
"""

from mesems_mri.queries.codes import CODES, CodeText, QueryCode
from mesems_mri.queries.table import (
    COLUMNS,
    LOCK,
    TABLE,
    Query,
    add_queries,
    blocking_queries,
    close_query,
    new_query,
    read_queries,
)

__all__ = [
    "CODES",
    "COLUMNS",
    "LOCK",
    "TABLE",
    "CodeText",
    "Query",
    "QueryCode",
    "add_queries",
    "blocking_queries",
    "close_query",
    "new_query",
    "read_queries",
]
