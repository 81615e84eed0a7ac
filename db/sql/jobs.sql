-- What is known of a job, for people and scripts. `list` and `job` ask for the project; what
-- follows is read for a job that `job` has found there.

-- name: list
-- Jobs, the newest first, each with those linked to it behind it.
with listed as (
  select id from jobs j
  where project_id = %(project_id)s and parent_id is null
    and (%(before)s::bigint is null or id < %(before)s)
    and (not %(active)s or ended_at is null or exists (
      select from jobs l where l.parent_id = j.id and l.ended_at is null))
  order by id desc limit %(limit)s
)
{lines}
where j.id in (select id from listed) or j.parent_id in (select id from listed)
order by coalesce(j.parent_id, j.id) desc, j.id;

-- name: linked
{lines}
where j.parent_id = %(job_id)s order by j.id;

-- name: lines
select j.id, j.parent_id, j.kind, j.name, j.status, j.paused, j.route, j.source, j.total,
  coalesce(c.completed, 0)::bigint as completed, coalesce(c.failed, 0)::bigint as failed,
  coalesce(c.uncalled, 0)::bigint as uncalled,
  coalesce(c.cost_nusd, 0)::bigint as cost_nusd, coalesce(c.unpriced, 0)::bigint as unpriced,
  j.created_at, j.ended_at
from jobs j
left join lateral (
  select sum(completed) as completed, sum(failed) as failed, sum(cost_nusd) as cost_nusd,
    sum(out_of_scope + needs_clarification) as uncalled,
    sum(unpriced) as unpriced
  from job_counters where job_id = j.id
) c on true;

-- name: job
select j.id, j.parent_id, j.kind, p.name as project, j.part, j.name, j.status, j.stop, j.paused, j.weight, j.route, j.round, j.source, j.metadata,
  j.config_digest, j.total, j.created_at, j.in_progress_at, j.finalizing_at, j.stopping_at,
  j.ended_at, j.deadline, a.limit_nusd, a.spent_nusd, a.reserved_nusd, now() as read_at
from jobs j
join accounts a on a.id = j.account_id
join projects p on p.id = j.project_id
where j.project_id = %(project_id)s and j.id = %(job_id)s;

-- name: shares
select deployment, sum(attempts)::bigint as attempts, sum(errors)::bigint as errors,
  sum(throttled)::bigint as throttled, sum(unknown)::bigint as unknown,
  sum(retries)::bigint as retries, sum(fallbacks)::bigint as fallbacks,
  sum(escalations)::bigint as escalations,
  sum(completed)::bigint as completed, sum(failed)::bigint as failed,
  sum(out_of_scope)::bigint as out_of_scope,
  sum(needs_clarification)::bigint as needs_clarification, sum(unpriced)::bigint as unpriced, sum(input_tokens)::bigint as input_tokens,
  sum(output_tokens)::bigint as output_tokens, sum(cost_nusd)::bigint as cost_nusd,
  sum(latency_ms)::bigint as latency_ms, sum(unbooked_nusd)::bigint as unbooked_nusd, max(updated_at) as updated_at
from job_counters where job_id = %(job_id)s group by deployment order by deployment;

-- name: events
select kind, data, at from job_events where job_id = %(job_id)s order by id;
