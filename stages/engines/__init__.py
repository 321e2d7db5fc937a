"""How text is generated and scored: the only modules that hold a model in memory outside training."""
