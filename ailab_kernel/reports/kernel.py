"""The kernel that a report runs in: this very interpreter, whatever kernels a user has installed under its name."""

import sys
from functools import cache

# Its own log says what papermill says better, and interrupts that are meant.
_COMMAND = (sys.executable, "-m", "ipykernel_launcher", "--log-level=50", "-f", "{connection_file}")


@cache
def kernel_manager() -> type:
    """Return the manager class that papermill starts a report's kernel with."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class OwnKernel(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            """Name this interpreter; a ``python3`` in the user's folder may be any other."""
            return KernelSpec(argv=list(_COMMAND), display_name="AI-LAB", language="python")

    return OwnKernel
