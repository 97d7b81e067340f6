-- Purpose: all that waits for a job which has ended without success, however far behind it, held still in the order of
-- their numbers. Giving those up one after the other would take the rows in another order, and two ends at once could
-- wait for each other.
-- Parameters: job (bigint).
-- Grain: one row a job behind it.
WITH RECURSIVE behind AS (
    SELECT d.job FROM job_dependency d JOIN job j ON j.id = d.job WHERE d.after = %(job)s AND j.state = 'blocked'
    UNION
    SELECT d.job FROM behind b JOIN job_dependency d ON d.after = b.job JOIN job j ON j.id = d.job
    WHERE j.state = 'blocked'
)
SELECT j.id FROM job j WHERE j.id IN (SELECT job FROM behind) ORDER BY j.id FOR UPDATE OF j;
