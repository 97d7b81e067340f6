"""Functions for templates, evaluated at run time: what a run reads, and where its results are named."""

from datetime import datetime

from eyewall.contracts.layout import receipt_path, safe_key


def period_start(partition_date: datetime | None) -> str:
    """First moment of the partition of a run, inclusive; empty for a run without a partition."""
    return _period(partition_date)[0]


def period_end(partition_date: datetime | None) -> str:
    """Last moment of the partition of a run, exclusive; empty for a run without a partition."""
    return _period(partition_date)[1]


def _period(partition_date: datetime | None) -> tuple[str, str]:
    if partition_date is None:
        return "", ""
    # Airflow puts the plugins on the path; the period is the installation's, whichever DAG asks for it.
    from slot_timetable import SlotTimetable

    start, end = SlotTimetable().period(partition_date)
    return start.isoformat(), end.isoformat()


def run_key(dag_id: str, run_id: str) -> str:
    """A name for what belongs to one run, such as its checkpoints: the same at every retry."""
    return safe_key(f"{dag_id}-{run_id}")


#: For ``user_defined_macros`` of a DAG.
MACROS = {
    "receipt_path": receipt_path,
    "run_key": run_key,
    "period_start": period_start,
    "period_end": period_end,
}
