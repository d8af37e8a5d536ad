rule train_auxiliary:
    input: unpack(inputs_of("train_auxiliary"))
    output: model=AUXILIARY + "/model.safetensors", log=AUXILIARY + "/training.parquet", costs=AUXILIARY + "/costs.json"
    log: log_of("train_auxiliary", AUXILIARY)
    params: made=made("train_auxiliary")
    resources: **growing_resources(4000, 240), gpu_place=1
    script: "../workflow_scripts/train_auxiliary.py"


use rule train_auxiliary as train_poisoned_auxiliary with:
    output: model=POISONED_AUXILIARY + "/model.safetensors", log=POISONED_AUXILIARY + "/training.parquet",
            costs=POISONED_AUXILIARY + "/costs.json"
    log: log_of("train_poisoned_auxiliary", POISONED_AUXILIARY)
