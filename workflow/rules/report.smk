rule compile_quality:
    """Compile the image quality of all visits in one table, the comparison of the pages."""
    input:
        standardised_records,
    output:
        ".mesems/site_quality.tsv",
    log:
        "logs/compile_quality.log",
    benchmark:
        "logs/compile_quality.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        bids_dir=str(BIDS_DIR),
        settings=settings("visits"),
        dates=acquisition_days(),
        code=code_version("pipeline.quality"),
    shell:
        "mesems-mri step compile_quality --bids-dir={params.bids_dir:q} --settings {params.settings} > {log:q} 2>&1"


rule report:
    """Write the page of a visit: counts, reasons, and every new and enhancing lesion in pictures."""
    input:
        metrics="{participant}/{session}/{participant}_{session}_metrics.json",
        # A site's later visits must not change the pages that are there.
        quality=ancient(quality_table),
    output:
        "{participant}/{session}/{participant}_{session}.html",
        "{participant}/{session}/.viewer/open.txt",
    log:
        "logs/{participant}/{session}/report.log",
    benchmark:
        "logs/{participant}/{session}/report.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        visit=visit_options,
        visit_log=visit_log,
        earlier=earlier_options,
        settings=settings("focus", "t2", "change", "enhancement", "quality"),
        code=code_version("pipeline.report"),
    shell:
        "mesems-mri step --mem-mb={resources.mem_mb} report {params.visit} {params.earlier} --settings {params.settings}"
        " 2>&1 | tee -a {params.visit_log:q} > {log:q}"


rule report_participant:
    """Write the page of a participant: visits, lesions over time, curves."""
    input:
        done_visits,
    output:
        "{participant}/{participant}.html",
    log:
        "logs/{participant}/report_participant.log",
    benchmark:
        "logs/{participant}/report_participant.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=code_version("pipeline.report_study"),
    shell:
        "mesems-mri step report_participant --participant={wildcards.participant} {input:q} > {log:q} 2>&1"


rule report_study:
    """Write the page of the study: participants by visits, gaps, curves, sites, runtime."""
    input:
        "visit_metrics.tsv",
        "participant_endpoints.tsv",
        quality_table,
        all_visit_records,
    output:
        "index.html",
    log:
        "logs/report_study.log",
    benchmark:
        "logs/report_study.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_version("pipeline.report_study"),
    shell:
        "mesems-mri step report_study > {log:q} 2>&1"
