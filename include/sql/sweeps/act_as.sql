-- Purpose: name who makes the changes of this session, for the table event.
-- Parameters: actor.
-- Grain: one session.
SELECT set_config('eyewall.actor', %(actor)s, false)
