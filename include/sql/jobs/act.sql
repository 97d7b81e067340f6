-- Purpose: who acts in this transaction, for the table event; what it commits is on disk before anybody acts on it,
-- also where the server is told to be lazy (the embedded one is), for a claim that a crash forgot would run twice. Plans are made once: that of a claim takes longer than the claim.
-- Parameters: actor (text).
-- Grain: one row.
SELECT
    set_config('eyewall.actor', %(actor)s, true),
    set_config('synchronous_commit', 'on', true),
    set_config('jit', 'off', true),
    set_config('plan_cache_mode', 'force_generic_plan', true);
