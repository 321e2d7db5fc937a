"""Every claim of speed, measured side by side. `make bench` runs them all."""
