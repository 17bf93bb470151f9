rule send_transfer:
    """Build the bundles of all sites and send them, once every visit of the study is complete."""
    input:
        study_products(),
    output:
        ".mesems/transfer.json",
    log:
        "logs/send_transfer.log",
    benchmark:
        "logs/send_transfer.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        bids_dir=str(BIDS_DIR),
        settings=settings("transfer"),
        code=code_version("transfer.automatic"),
    shell:
        "mesems-mri step send_transfer --bids-dir={params.bids_dir:q} --settings {params.settings} > {log:q} 2>&1"
