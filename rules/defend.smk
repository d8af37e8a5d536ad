rule detect:
    input: unpack(inputs_of("detect"))
    output: scores=DETECTOR + "/scores.parquet", log=DETECTOR + "/log.parquet", costs=DETECTOR + "/costs.json"
    log: log_of("detect", DETECTOR)
    params: made=made("detect")
    resources: **growing_resources(4000, 240), gpu_place=1
    script: "../workflow_scripts/detect.py"


def minutes_of_defense(w):
    """A defense that trains in the victim's stead takes as long as the victim did, one that repairs it less."""
    return 240 if studies.is_in_training(catalog.describe("defenses", spellings.method_name(w.defense)).asks) else 60


rule defend:
    input: unpack(inputs_of("defend"))
    output: model=DEFENSE + "/model.safetensors" if CONFIG.keep_models else temp(DEFENSE + "/model.safetensors"),
            log=DEFENSE + "/log.parquet", costs=DEFENSE + "/costs.json"
    log: log_of("defend", DEFENSE)
    group: CELLS_OF_VICTIM
    params: made=made("defend")
    resources: **growing_resources(4000, minutes_of_defense), gpu_place=1
    script: "../workflow_scripts/defend.py"
