"""Start and supervision of Snakemake: a bad visit stops no other, and every run ends with a summary."""
