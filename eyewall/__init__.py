"""Eyewall: geostationary satellite images in, verified and served typhoon-track forecasts out.

The domain library. It runs on a laptop without Airflow and without a cluster, and importing it has no side effects.
"""

__version__: str


def __getattr__(name: str) -> str:
    """``__version__``, when it is asked for: reading metadata takes as long as all of a liveness probe may."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("eyewall")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
