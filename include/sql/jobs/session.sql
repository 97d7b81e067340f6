-- Purpose: a dispatcher's session: who acts, for the table event; what is committed is on disk, also where the server is
-- told to be lazy; a statement that hangs holds nothing up, and a dispatcher that is frozen holds no rows. Plans are made
-- once: that of a claim takes longer than the claim.
-- Parameters: actor (text).
-- Grain: one row.
SELECT
    set_config('eyewall.actor', %(actor)s, false),
    set_config('synchronous_commit', 'on', false),
    set_config('jit', 'off', false),
    set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('statement_timeout', '30s', false),
    set_config('idle_in_transaction_session_timeout', '30s', false);
