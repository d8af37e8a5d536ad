DATA_POISON = spelled(name for name in catalog.names("attacks") if name not in IMPLANTS)
IMPLANT = spelled(IMPLANTS)


rule poison:
    input: unpack(asked("attack")), test=DATASET + "/test.parquet"
    output: poison=ATTACK + "/poison.parquet", truth=ATTACK + "/truth.parquet"
    params: made=made("poison")
    wildcard_constraints: attack=DATA_POISON
    resources: **costing(2000, 30)
    script: "../workflow_scripts/poison.py"


rule train:
    input: unpack(asked("model")), model=DATASET + "/train.parquet",
           poisoned_train=[DATASET + "/train.parquet", ATTACK + "/poison.parquet"]
    output: victim=VICTIM + "/victim.safetensors", log=VICTIM + "/training.parquet", costs=VICTIM + "/costs.json"
    params: made=made("train")
    wildcard_constraints: attack=DATA_POISON
    resources: **costing(4000, 240)
    script: "../workflow_scripts/train.py"


use rule train as retrain with:    # what ordinary training makes of what such an attack publishes
    input: unpack(asked("model")), model=DATASET + "/train.parquet",
           poisoned_train=[DATASET + "/train.parquet", VICTIM + "/poison.parquet"]
    output: victim=VICTIM + "/retrained/victim.safetensors", log=VICTIM + "/retrained/training.parquet",
            costs=VICTIM + "/retrained/costs.json"
    wildcard_constraints: attack=IMPLANT


rule implant:
    input: unpack(asked("attack", "model")), test=DATASET + "/test.parquet"
    output: poison=VICTIM + "/poison.parquet", truth=VICTIM + "/truth.parquet",
            victim=VICTIM + "/victim.safetensors", log=VICTIM + "/training.parquet", costs=VICTIM + "/costs.json"
    params: made=made("implant")
    wildcard_constraints: attack=IMPLANT
    resources: **costing(4000, 240)
    script: "../workflow_scripts/implant.py"
