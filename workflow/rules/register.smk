rule register:
    """Co-register the images of a visit, register them to the anchor visit, resample once."""
    input:
        standardised=".mesems/{participant}/{session}/standardise.json",
        previous=previous_record("register"),
    output:
        record=".mesems/{participant}/{session}/register.json",
    log:
        "logs/{participant}/{session}/register.log",
    benchmark:
        "logs/{participant}/{session}/register.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        visit=visit_options,
        visit_log=visit_log,
        settings=settings("quality.min_covered_fraction"),
        code=code_version("pipeline.register"),
    shell:
        "mesems-mri step --mem-mb={resources.mem_mb} register {params.visit} --previous={input.previous:q} --settings {params.settings} 2>&1 | tee -a {params.visit_log:q} > {log:q}"
