-- Purpose: hear at once what a dispatcher has to know: something may be startable, a job is to end, a search came.
-- Parameters: none.
-- Grain: one session; three channels.
LISTEN eyewall_queue;
LISTEN eyewall_stop;
LISTEN eyewall_sweep
