"""warmexp: warm starts, revision and honest metering for masked diffusion language models."""

import os

# Waiting OpenMP threads sleep instead of spinning. On a shared machine spinning threads take the cores that the others
# wait for, and a forward becomes several times slower. Must be set before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
