"""Searches: many trials of one training, each an ordinary job of the queue; Optuna proposes and prunes."""

from typing import Final

#: How controllers are named in pg_stat_activity.
APPLICATION: Final = "eyewall sweep"
