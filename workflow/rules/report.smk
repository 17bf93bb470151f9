rule report_visit:
    """Write the page of a visit: counts, reasons, and every new and enhancing lesion in pictures."""
    input:
        metrics="{participant}/{session}/{participant}_{session}_metrics.json",
        measured=".mesems/{participant}/{session}/measure.json",
    output:
        "{participant}/{session}/{participant}_{session}.html",
    log:
        "logs/{participant}/{session}/report_visit.log",
    benchmark:
        "logs/{participant}/{session}/report_visit.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        visit=visit_options,
        code=code_version("steps/report.py", "report"),
    shell:
        "mesems-mri step report_visit {params.visit} > {log:q} 2>&1"
