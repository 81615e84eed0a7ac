-- What a router learns from: scored answers, with what was asked and what they cost.

-- name: jobs
-- Those of the project that have scores, the newest first; those of a route with their pilots.
select j.id from jobs j
where j.project_id = %(project_id)s
  and (%(jobs)s::bigint[] is null or j.id = any(%(jobs)s::bigint[]))
  and (%(since)s::interval is null or j.created_at >= now() - %(since)s::interval)
  and (%(route)s::text is null or j.route = %(route)s
    or exists (select from jobs p where p.id = j.parent_id and p.route = %(route)s))
  and exists (select from scores s where s.part = j.part and s.job_id = j.id)
order by j.id desc;

-- name: scorers
select distinct scorer from scores s join jobs j on j.id = s.job_id and j.part = s.part
where j.project_id = %(project_id)s and j.id = %(job_id)s order by 1;

-- name: lessons
-- A scored answer a row: of results by a deployment, as they are now, with its text where that is
-- asked for. The propensity is that of the candidate asked first, where a router chose it.
with asked as (
  select u.seq, u.propensity
  from routes r cross join lateral unnest(r.seqs, r.propensity) as u (seq, propensity)
  where r.part = %(part)s and r.job_id = %(job_id)s and r.propensity is not null
)
select q.prompt_hash, q.body, q.metadata, r.deployment, s.value, a.cost_nusd, p.propensity,
  case when %(replies)s then r.body end
from scores s
join results r on r.part = s.part and r.job_id = s.job_id and r.seq = s.seq and r.round = s.round
join requests q on q.part = s.part and q.job_id = s.job_id and q.seq = s.seq
left join attempts a on a.part = r.part and a.job_id = r.job_id and a.seq = r.seq and a.n = r.n
left join asked p on p.seq = s.seq
where s.part = %(part)s and s.job_id = %(job_id)s and s.scorer = %(scorer)s
  and r.deployment <> ''
  and not exists (select from results later where later.part = s.part
    and later.job_id = s.job_id and later.seq = s.seq and later.round > s.round)
order by s.seq limit %(limit)s;

-- name: sample
-- Requests from all over a job.
select q.body, q.metadata from jobs j
join requests q on q.part = j.part and q.job_id = j.id
  and q.seq = any(array(
    select s from generate_series(0, j.total - 1, greatest(j.total / %(count)s::int, 1)) s))
where j.project_id = %(project_id)s and j.id = %(job_id)s
order by q.seq limit %(count)s;

-- name: intents
-- What a job's requests were told to be about, and how many ended by that without a call.
select coalesce(u.intent, ''), count(*) from jobs j
join routes r on r.part = j.part and r.job_id = j.id cross join lateral unnest(r.intents) as u (intent)
where j.project_id = %(project_id)s and j.id = %(job_id)s group by 1
union all
select r.status, count(*) from jobs j join results r on r.part = j.part and r.job_id = j.id
where j.project_id = %(project_id)s and j.id = %(job_id)s
  and r.status in ('out_of_scope', 'needs_clarification') group by 1;

-- name: newest
select max(id) from jobs where project_id = %(project_id)s and kind = 'live';

-- name: job
select j.part, coalesce(g.gold, '') from jobs j left join scorings g on g.job_id = j.id
where j.project_id = %(project_id)s and j.id = %(job_id)s;
