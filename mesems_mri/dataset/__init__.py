"""What a trial is on disk: raw BIDS, the output folder, its tables, visit schedule and queries."""
