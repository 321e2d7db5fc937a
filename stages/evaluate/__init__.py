"""Stages that say what a round has become, in Reports, and which model goes on by them."""
