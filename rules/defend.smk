rule detect:
    input: unpack(inputs_of("detect"))
    output: scores=DETECTOR + "/scores.parquet", log=DETECTOR + "/log.parquet", costs=DETECTOR + "/costs.json"
    log: log_of("detect", DETECTOR)
    params: made=made("detect")
    resources: **growing_resources(4000, 240)
    script: "../workflow_scripts/detect.py"


rule defend:
    input: unpack(inputs_of("defend"))
    output: model=DEFENSE + "/model.safetensors" if CONFIG.keep_models else temp(DEFENSE + "/model.safetensors"),
            log=DEFENSE + "/log.parquet", costs=DEFENSE + "/costs.json"
    log: log_of("defend", DEFENSE)
    params: made=made("defend")
    resources: **growing_resources(4000, 240), gpu_place=1
    script: "../workflow_scripts/defend.py"
