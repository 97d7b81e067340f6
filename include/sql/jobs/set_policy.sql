-- Purpose: the rules of the queue, where they differ from those in force.
-- Parameters: the columns of queue_policy.
-- Grain: one row, with whether ageing changed; none where nothing did.
UPDATE queue_policy p SET
    ageing = %(ageing)s, share_penalty = %(share_penalty)s, share_cap = %(share_cap)s, lease = %(lease)s,
    heartbeat = %(heartbeat)s, retry = %(retry)s, reserve_after = %(reserve_after)s, reserved_share = %(reserved_share)s
FROM queue_policy old
WHERE old.one AND p.one
  AND (p.ageing, p.share_penalty, p.share_cap, p.lease, p.heartbeat, p.retry, p.reserve_after, p.reserved_share)
      <> (%(ageing)s::interval, %(share_penalty)s::interval, %(share_cap)s::interval, %(lease)s::interval,
          %(heartbeat)s::interval, %(retry)s::interval, %(reserve_after)s::interval, %(reserved_share)s::float8)
RETURNING p.ageing <> old.ageing;
