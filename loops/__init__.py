"""The engine: plans and runs the steps of a recipe. It knows nothing about language models.

The one decision: a recipe is a fold over rounds, a round is a graph of pure steps, and a step is known by a hash of
what it computes.
"""
