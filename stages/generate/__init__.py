"""Stages that make Completions."""
