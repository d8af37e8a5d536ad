configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/provenance.smk"
include: "rules/studies.smk"
include: "rules/data.smk"
include: "rules/attack.smk"
include: "rules/auxiliary.smk"
include: "rules/cluster.smk"
include: "rules/defend.smk"
include: "rules/evaluate.smk"
include: "rules/analyze.smk"
include: "rules/report.smk"
include: "rules/against.smk"


rule all:    # here: an included file cannot set the default target
    input: all_results
