rule detect:
    """Detect T2 lesions, their change, enhancing lesions and black holes of a visit."""
    input:
        registered=".mesems/{participant}/{session}/register.json",
        previous=previous_record("detect"),
        masks=given_masks,
    output:
        record=".mesems/{participant}/{session}/detect.json",
    log:
        "logs/{participant}/{session}/detect.log",
    benchmark:
        "logs/{participant}/{session}/detect.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        visit=visit_options,
        visit_log=visit_log,
        visit_type=lambda wildcards: session_of(wildcards).visit_type,
        settings=settings(
            "focus",
            "t2",
            "change",
            "enhancement.correlate_mm",
            "enhancement.ring_gap_mm",
            "enhancement.min_score",
            "enhancement.candidate_score",
            "quality.min_covered_fraction",
        ),
        masks=shlex.join([f"--lesion-masks={LESION_MASKS}"] if LESION_MASKS else []),
        code=code_version("pipeline.detect"),
    shell:
        "mesems-mri step --mem-mb={resources.mem_mb} detect {params.visit} --previous={input.previous:q}"
        " {params.masks} --visit-type={params.visit_type} --settings {params.settings} 2>&1 | tee -a {params.visit_log:q} > {log:q}"
