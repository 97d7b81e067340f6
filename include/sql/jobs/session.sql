-- Purpose: a dispatcher's session: who acts, for the table event; what is committed is on disk, also where the server is
-- told to be lazy; a statement that hangs holds nothing up, and a dispatcher that is frozen holds no rows.
-- Parameters: actor (text).
-- Grain: one row.
SELECT
    set_config('eyewall.actor', %(actor)s, false),
    set_config('synchronous_commit', 'on', false),
    set_config('statement_timeout', '30s', false),
    set_config('idle_in_transaction_session_timeout', '30s', false);
