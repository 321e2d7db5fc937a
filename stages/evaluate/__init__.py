"""Stages that say what a round has become. They make Reports and change nothing."""
