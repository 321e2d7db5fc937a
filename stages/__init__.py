"""The work: pure functions of artifacts. Nothing here knows of rounds, of Hydra or of MLflow.

The one decision: a stage is a frozen dataclass whose fields are its identity and whose call names what it reads and
makes. Importing one brings in no torch: heavy imports stand inside the function that needs them.
"""
