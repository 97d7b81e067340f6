-- Purpose: every decision of the gate with its candidate.
-- Parameters: none.
-- Grain: one row a decision.
SELECT path, extra ->> 'verdict' AS verdict, extra -> 'candidate' ->> 'uri' AS candidate
FROM artifact WHERE kind = 'decision' ORDER BY path;
