ANALYSIS = "results/analyses/{analysis}/{dataset}/{attack}/ratio~{ratio}/seed~{seed}/{model}/{defense}.parquet"


def analysis_files(spelling, cells):
    """The files of an analysis of these cells: one for each victim, unless it asks for what a defense left. With
    `--config partial=true` those that there are."""
    asks = catalog.describe("analyses", spellings.method_name(spelling)).asks
    chosen = [cell._replace(defense="none") for cell in cells]
    if "defended" in asks:
        chosen = cells
    if "log" in asks:    # of a model that exists already there is none
        chosen = [c for c in cells if not catalog.describe("defenses", spellings.method_name(c.defense)).traits["stands_for"]]
    found = [ANALYSIS.format(analysis=spelling, **cell._asdict()) for cell in dict.fromkeys(chosen)]
    return [path for path in found if not CONFIG.partial or exists(path)]


rule analyze:
    input: unpack(inputs_of("analyze"))
    output: ANALYSIS
    log: log_of("analyze", DEFENSE + "/{analysis}")
    params: made=made("analyze")
    resources: **growing_resources(4000, 60), gpu_place=1
    script: "../workflow_scripts/analyze.py"
