rule defend:
    input: unpack(asked("defense", "model"))
    output: model=DEFENSE + "/model.safetensors" if CONFIG.keep_models else temp(DEFENSE + "/model.safetensors"),
            log=DEFENSE + "/log.parquet", costs=DEFENSE + "/costs.json"
    params: made=made("defend")
    resources: **costing(4000, 240)
    script: "../workflow_scripts/defend.py"
