-- Purpose: hear at once of ends and reports of jobs.
-- Parameters: none.
-- Grain: one session; two channels.
LISTEN eyewall_job;
LISTEN eyewall_report
