"""What MLflow holds of loops: runs, curves, data sets, samples, judgements, models, and how they are shown.

Only this package talks to MLflow.
"""
