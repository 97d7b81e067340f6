"""Eyewall: geostationary satellite images in, verified and served typhoon-track forecasts out.

The domain library. It runs on a laptop without Airflow and without a cluster, and importing it has no side effects.
"""

TYPE_CHECKING = False  # importing typing would be most of what importing this takes
if TYPE_CHECKING:
    from eyewall.report import report as report

__version__: str


def __getattr__(name: str) -> object:
    """``report``, and ``__version__``: reading metadata takes as long as all of a liveness probe may."""
    if name == "report":
        from importlib import import_module

        return import_module("eyewall.report")  # which can be called
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("eyewall")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
