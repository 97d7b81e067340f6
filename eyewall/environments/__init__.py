"""Framework environments: which there are, how they are made, and what a job gets of one.

`resolve` and `sync` are what the rest of the platform calls. A recipe (`recipe`) and its lock (`lock`) are built into
an image of the registry (`docker_build`) and into a folder of this machine (`process_build`); `table` remembers both.
"""

from eyewall.environments.table import Environment, resolve, sync

__all__ = ["Environment", "resolve", "sync"]
