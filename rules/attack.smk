DATA_POISON = spelling_pattern("attacks", lambda name: not spellings.is_implant(name))
IMPLANT = spelling_pattern("attacks", spellings.is_implant)


rule poison:
    input: unpack(inputs_of("poison"))
    output: poison=ATTACK + "/poison.parquet", truth=ATTACK + "/truth.parquet", costs=ATTACK + "/costs.json"
    log: log_of("poison", ATTACK)
    params: made=made("poison")
    wildcard_constraints: attack=DATA_POISON
    resources: **growing_resources(2000, 30), gpu_place=1
    script: "../workflow_scripts/poison.py"


rule train:
    input: unpack(inputs_of("train"))
    output: victim=VICTIM + "/victim.safetensors", log=VICTIM + "/training.parquet", costs=VICTIM + "/costs.json"
    log: log_of("train", VICTIM)
    params: made=made("train")
    wildcard_constraints: attack=DATA_POISON
    resources: **growing_resources(4000, 240), gpu_place=1
    script: "../workflow_scripts/train.py"


use rule train as retrain with:    # what ordinary training makes of what such an attack publishes
    output: victim=VICTIM + "/retrained/victim.safetensors", log=VICTIM + "/retrained/training.parquet",
            costs=VICTIM + "/retrained/costs.json"
    log: log_of("retrain", VICTIM)
    wildcard_constraints: attack=IMPLANT


rule implant:
    input: unpack(inputs_of("implant"))
    output: poison=VICTIM + "/poison.parquet", truth=VICTIM + "/truth.parquet",
            victim=VICTIM + "/victim.safetensors", log=VICTIM + "/training.parquet", costs=VICTIM + "/costs.json"
    log: log_of("implant", VICTIM)
    params: made=made("implant")
    wildcard_constraints: attack=IMPLANT
    resources: **growing_resources(4000, 240), gpu_place=1
    script: "../workflow_scripts/implant.py"
