"""What starts and watches Snakemake: one bad visit does not stop others, and how a run ended is told."""
