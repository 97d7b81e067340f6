"""What the page shows: rows of include/sql/page, put together. Everything in them is a user's text, and stays text."""

from typing import Any

from .database import Reader

#: Rows of a page of the queue and of the history.
PAGE = 50
#: Running jobs, GPUs and trials that one answer holds at most.
RUNNING, GPUS, TRIALS = 50, 1000, 2000
#: Trials whose curves are drawn at most.
CURVES = 100
#: Points of a small curve and of a large one.
FEW, MANY = 40, 400


def now(reader: Reader) -> dict[str, Any]:
    """What runs, on which GPUs, and the figures at the top."""
    (counts,), gpus, running = reader.read(
        ("page/counts", {}), ("page/gpus", {"limit": GPUS}), ("page/running", {"limit": RUNNING, "offset": 0})
    )
    curves = _curves(reader, [row["attempt_id"] for row in running], FEW)
    for row in running:
        row["curves"] = curves.get(row["attempt_id"], {})
    return {"counts": counts, "gpus": gpus, "running": running}


def queue(reader: Reader, offset: int) -> dict[str, Any]:
    """One page of the jobs that wait, each with why."""
    (rows,) = reader.read(("page/queue", {"limit": PAGE + 1, "offset": offset}))
    return {"jobs": rows[:PAGE], "offset": offset, "more": len(rows) > PAGE, "page": PAGE}


def history(reader: Reader, before: tuple[str, int] | None, state: str | None, text: str | None) -> dict[str, Any]:
    """One page of the jobs that have ended, after the row ``before`` of (time, id)."""
    at, number = before or (None, None)
    (rows,) = reader.read(
        ("page/history", {"before_at": at, "before_id": number, "state": state, "text": text, "limit": PAGE + 1})
    )
    return {"jobs": rows[:PAGE], "more": len(rows) > PAGE}


def job(reader: Reader, number: int) -> dict[str, Any] | None:
    """One job with its attempts and events, and the curves of its last attempts; None where there is no such job."""
    found, attempts, events = reader.read(
        ("page/job", {"job": number}),
        ("page/attempts", {"job": number, "limit": 100}),
        ("page/events", {"job": number, "limit": 200}),
    )
    if not found:
        return None
    curves = _curves(reader, [row["id"] for row in attempts[:3]], MANY)
    for row in attempts:
        row["curves"] = curves.get(row["id"], {})
    return {"job": found[0], "attempts": attempts, "events": events}


def sweeps(reader: Reader, offset: int) -> dict[str, Any]:
    """One page of the searches, the last first, each with its best value."""
    (rows,) = reader.read(("page/sweeps", {"limit": PAGE + 1, "offset": offset}))
    return {"sweeps": rows[:PAGE], "offset": offset, "more": len(rows) > PAGE, "page": PAGE}


def sweep(reader: Reader, number: int) -> dict[str, Any] | None:
    """One search with its trials, and the curves of the last ones; None where there is no such search."""
    found, trials = reader.read(
        ("page/sweep", {"sweep": number}), ("page/trials", {"sweep": number, "limit": TRIALS + 1})
    )
    if not found:
        return None
    attempts = {row["attempt_id"]: row["number"] for row in trials if row["attempt_id"]}
    goal = found[0]["metric"]
    curves = _curves(reader, list(attempts)[-CURVES:], FEW, goal)
    return {
        "sweep": found[0],
        "trials": trials[:TRIALS],
        "more": len(trials) > TRIALS,
        "curves": {attempts[attempt]: metrics[goal] for attempt, metrics in curves.items()},
    }


def _curves(
    reader: Reader, attempts: list[int], points: int, metric: str | None = None
) -> dict[int, dict[str, list[list[Any]]]]:
    """Attempt → metric → [[step, value], …]."""
    found: dict[int, dict[str, list[list[Any]]]] = {}
    (rows,) = reader.read(("page/curves", {"attempts": attempts, "points": points, "metric": metric}))
    for row in rows:
        found.setdefault(row["attempt"], {}).setdefault(row["metric"], []).append([row["step"], row["value"]])
    return found
