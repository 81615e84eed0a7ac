-- Why the calls of a job went where they went.

-- name: of_job
select a.deployment, coalesce(c.choice, ''), sum(a.calls)::bigint
from (
  select chunk_id, deployment, count(*) as calls from attempts
  where part = %(part)s and job_id = %(job_id)s group by chunk_id, deployment
) a
left join chunks c on c.id = a.chunk_id
group by 1, 2;
