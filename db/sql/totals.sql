-- The whole yard in numbers, for `/metrics` of the one process that tells them.

-- name: teller
-- The oldest living control worker; numbers that two processes told would be counted twice.
select min(id) from processes where controls and lease_until > now();

-- name: jobs
select status, count(*) from jobs group by 1;

-- name: money
select coalesce(sum(spent_nusd), 0)::bigint, coalesce(sum(reserved_nusd), 0)::bigint
from accounts where kind = 'project';

-- name: unknown
select coalesce(sum(unknown), 0)::bigint, coalesce(sum(unpriced), 0)::bigint from job_counters;
