-- Purpose: let a connection of Optuna's see its own tables only. What it commits is on disk before a job is made of it,
-- also where the server is told to be lazy: a trial that a crash forgot would be asked for again.
-- Parameters: none.
-- Grain: one session.
SET search_path TO optuna;
SET synchronous_commit TO on
