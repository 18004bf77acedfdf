"""From names to a typed config: schemas from signatures, Hydra's groups, errors with suggestions."""
