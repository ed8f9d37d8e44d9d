"""warmexp: warm starts, revision and honest metering for masked diffusion language models."""

__version__ = "0.1.0"
