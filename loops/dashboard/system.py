"""What the machine does while a loop's steps run: processor, memory, disk, network, and a GPU where MLflow sees one.

The one decision: MLflow's own monitor, on the loop's run, from the first step that is begun here until the end. A loop
that had finished before is not watched.
"""

from typing import Any

EVERY = 10.0
"""Seconds between two samples."""


class Watch:
    """A monitor that is begun once, and ended before its run is."""

    def __init__(self, uri: str, run: str) -> None:
        self._uri, self._run = uri, run
        self._monitor: Any = None

    def begin(self) -> None:
        """Watch from now on."""
        if self._monitor is None:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            self._monitor = SystemMetricsMonitor(
                self._run, sampling_interval=EVERY, resume_logging=True, tracking_uri=self._uri
            )
            self._monitor.start()

    def end(self) -> None:
        """Tell what was measured, and nothing after that."""
        if self._monitor is not None:
            self._monitor.finish()
