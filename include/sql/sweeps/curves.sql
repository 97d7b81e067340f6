-- Purpose: the learning curves of a search; where two attempts of a job reported the same step, the later one's word.
-- Parameters: sweep.
-- Grain: one row a trial and step, in that order.
SELECT DISTINCT ON (t.number, r.step) t.number, r.step, r.value
FROM sweep s
JOIN trial t ON t.sweep = s.id
JOIN attempt a ON a.job = t.job
JOIN report r ON r.attempt = a.id AND r.metric = s.spec -> 'objective' ->> 'metric'
WHERE s.id = %(sweep)s
ORDER BY t.number, r.step, a.number DESC
