"""Stages that make Pairs: mining them from Scores, mixing and filtering them."""
