"""Assets by which DAGs follow each other; here, because a DAG file never imports another one."""

from airflow.sdk import Asset

#: New frames in the store; one event per partition (period of slots) that brought any.
FRAMES = Asset(name="frames", uri="eyewall://store/frames")
