"""Eyewall: geostationary satellite images in, verified and served typhoon-track forecasts out.

The domain library. It runs on a laptop without Airflow and without a cluster, and importing it has no side effects.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("eyewall")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
