rule standardise:
    """Check headers, extract the brain (skull stripping), correct the bias field, measure quality."""
    input:
        raw_images,
    output:
        record=".mesems/{participant}/{session}/standardise.json",
    log:
        "logs/{participant}/{session}/standardise.log",
    benchmark:
        "logs/{participant}/{session}/standardise.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        visit=visit_options,
        visit_log=visit_log,
        images=image_options,
        settings=settings("intake.header_repair"),
        code=code_version("pipeline.standardise"),
    shell:
        "mesems-mri step --mem-mb={resources.mem_mb} standardise {params.visit} {params.images} --settings {params.settings} 2>&1 | tee -a {params.visit_log:q} > {log:q}"
