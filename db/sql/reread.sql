-- After a lost acknowledgement.

-- name: chunks
-- The chunks that still have the lease under which they were handed in.
select c.id, c.sent, j.stop is not null
from unnest(%(ids)s::bigint[], %(fences)s::int[]) as held (id, fence)
join chunks c on c.id = held.id and c.fence = held.fence
join jobs j on j.id = c.job_id;
