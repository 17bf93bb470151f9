"""Count active lesions on the MRI of a trial: from raw BIDS to per-visit numbers.

snakemake --cores 2 --config bids_dir=BIDS_DIR out_dir=OUT_DIR [config_file=FILE]
"""

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/common.smk"


workdir: str(OUT_DIR)


include: "workflow/rules/standardise.smk"
include: "workflow/rules/register.smk"
include: "workflow/rules/detect.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/transfer.smk"


localrules:
    group,
    participant,
    compile_ledger,
    compile_metrics,
    compile_quality,
    describe_dataset,
    report_participant,
    report_study,
    send_transfer,


rule group:
    default_target: True
    input:
        group_products(),


rule participant:
    input:
        participant_products(),
