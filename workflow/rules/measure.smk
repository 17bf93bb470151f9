rule measure:
    """Track every focus through the visits, and count."""
    input:
        detected=".mesems/{participant}/{session}/detect.json",
        previous=previous_record("measure"),
    output:
        record=".mesems/{participant}/{session}/measure.json",
        metrics="{participant}/{session}/{participant}_{session}_metrics.json",
    log:
        "logs/{participant}/{session}/measure.log",
    benchmark:
        "logs/{participant}/{session}/measure.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        visit=visit_options,
        visit_log=visit_log,
        table=visit_table_options,
        settings=settings("focus.min_volume_mm3", "enhancement.join_mm", "quality"),
        config_sha256=TRIAL.sha256(),
        code=code_version("pipeline.measure"),
    shell:
        "mesems-mri step --mem-mb={resources.mem_mb} measure {params.visit} --previous={input.previous:q} {params.table}"
        " --config-sha256={params.config_sha256} --settings {params.settings} 2>&1 | tee -a {params.visit_log:q} > {log:q}"


rule compile_ledger:
    """Write the lesion ledger of a participant and its anchor visit."""
    input:
        done_visits,
    output:
        "{participant}/{participant}_lesions.tsv",
        "{participant}/{participant}_anchor.json",
    log:
        "logs/{participant}/compile_ledger.log",
    benchmark:
        "logs/{participant}/compile_ledger.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=code_version("pipeline.compile"),
    shell:
        "mesems-mri step compile_ledger --participant={wildcards.participant} {input:q} > {log:q} 2>&1"


rule compile_metrics:
    """Write the tables of the study: one row per visit, one row per participant and period."""
    input:
        all_visit_records,
    output:
        "visit_metrics.tsv",
        "visit_metrics.json",
        "participant_endpoints.tsv",
        "participant_endpoints.json",
    log:
        "logs/compile_metrics.log",
    benchmark:
        "logs/compile_metrics.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=settings("periods"),
        code=code_version("dataset.reads"),
    shell:
        "mesems-mri step compile_metrics --settings {params.settings} > {log:q} 2>&1"


rule describe_dataset:
    """Write the BIDS description of the output folder."""
    output:
        "dataset_description.json",
        ".bidsignore",
    log:
        "logs/describe_dataset.log",
    benchmark:
        "logs/describe_dataset.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=code_version("pipeline.compile"),
    shell:
        "mesems-mri step describe_dataset > {log:q} 2>&1"
