-- Purpose: where Optuna keeps its studies, beside the project's own tables and not among them.
-- Parameters: none.
-- Grain: one schema; made already: nothing.
CREATE SCHEMA IF NOT EXISTS optuna
