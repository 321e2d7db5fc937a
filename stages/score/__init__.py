"""Stages that turn Completions into Scores. A score that could not be had is null, never a number."""
