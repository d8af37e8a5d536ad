"""What a model is: a frozen dataclass, an `Architecture` (networks/model.py), whose `build` gives the untrained network
and whose other fields say how it is trained."""
