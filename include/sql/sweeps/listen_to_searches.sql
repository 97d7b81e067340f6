-- Purpose: hear at once of searches that begin, end, or are left to dispatchers.
-- Parameters: none.
-- Grain: one session; one channel.
LISTEN eyewall_sweep
