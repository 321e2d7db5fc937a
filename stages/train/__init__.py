"""Stages that make a Model from a Model and data."""
