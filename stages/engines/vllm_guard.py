"""What vLLM's own processes are told of ours: to end with it, however it ends.

The one decision: a worker that is killed cannot end anybody, so vLLM's processes watch it themselves. Without that they
would live on and keep their memory.
"""

import os
import select
import signal
import threading


class Guard:
    """A mixin for vLLM's worker class (``worker_extension_cls``)."""

    def end_with(self, process: int) -> None:
        """End this process, and vLLM's core that started it, as soon as that process has ended."""
        watched = os.pidfd_open(process)
        threading.Thread(target=_end_after, args=(watched, process, os.getppid()), daemon=True).start()


def _end_after(watched: int, process: int, core: int) -> None:
    """``core`` is who started this process; whoever adopts it later is somebody else."""
    select.select([watched], [], [])
    try:
        if core != process and os.getppid() == core:
            os.kill(core, signal.SIGKILL)
    finally:
        os._exit(1)
