-- Purpose: who acts in this transaction, for the table event; what it commits is on disk when it is told, also where the
-- server is told to be lazy (the embedded one is).
-- Parameters: actor (text).
-- Grain: one row.
SELECT set_config('eyewall.actor', %(actor)s, true), set_config('synchronous_commit', 'on', true);
