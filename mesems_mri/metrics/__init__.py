"""Tables of the trial: their columns, how they are written, and the counts derived from the ledger."""

from mesems_mri.metrics.columns import (
    EVALUATED,
    LEDGER_COLUMNS,
    NEEDS_EARLIER_GEL,
    PARTICIPANT_ENDPOINTS_COLUMNS,
    QC_FLAGS,
    SCHEMA_VERSION,
    SITE_QUALITY_COLUMNS,
    VISIT_METRICS_COLUMNS,
    Column,
)
from mesems_mri.metrics.counts import participant_endpoints, visit_counts
from mesems_mri.metrics.tables import (
    FORBIDDEN_COLUMNS,
    check_forbidden,
    parse_value,
    read_table,
    table_cells,
    write_dictionary,
    write_table,
)

__all__ = [
    "EVALUATED",
    "FORBIDDEN_COLUMNS",
    "LEDGER_COLUMNS",
    "NEEDS_EARLIER_GEL",
    "PARTICIPANT_ENDPOINTS_COLUMNS",
    "QC_FLAGS",
    "SCHEMA_VERSION",
    "SITE_QUALITY_COLUMNS",
    "VISIT_METRICS_COLUMNS",
    "Column",
    "check_forbidden",
    "parse_value",
    "participant_endpoints",
    "read_table",
    "table_cells",
    "visit_counts",
    "write_dictionary",
    "write_table",
]
