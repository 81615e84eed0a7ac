-- What a job did, request by request, for what routing was worth. One request in `every` is read.

-- name: scorers
-- Who has scored the job; whom it was submitted with comes first.
select s.scorer from (
  select distinct scorer from scores where part = %(part)s and job_id = %(job_id)s
) s
order by s.scorer <> coalesce((
  select split_part(scorer, ':', 1) from scorings where job_id = %(job_id)s), ''), s.scorer;

-- name: answers
-- Requests that were answered by calls of the job itself: who answered, what all calls cost (null
-- where one is not known), what the answer is worth (null without a score).
select r.seq, r.deployment, a.cost, s.value
from (
  select distinct on (seq) seq, round, status, deployment from results
  where part = %(part)s and job_id = %(job_id)s and seq %% %(every)s = 0
  order by seq, round desc
) r
join (
  select seq, case when bool_or(cost_nusd is null) then null else sum(cost_nusd) end::bigint as cost
  from attempts where part = %(part)s and job_id = %(job_id)s and seq %% %(every)s = 0 group by seq
) a on a.seq = r.seq
left join scores s on s.part = %(part)s and s.job_id = %(job_id)s and s.seq = r.seq
  and s.round = r.round and s.scorer = %(scorer)s
where r.status = 'completed' and r.deployment <> ''
order by r.seq;

-- name: foreseen
-- What the route step predicted, a row a route chunk, later rounds last, with the first candidates
-- of its plans.
select r.seqs, r.plan_ids, r.candidates, r.quality, r.cost, r.propensity, (
    select jsonb_object_agg(p.id::text, p.body -> 'candidates' ->> 0) from plans p
    where p.id = any(r.plan_ids))
from routes r
where r.part = %(part)s and r.job_id = %(job_id)s and r.candidates is not null
  and r.quality is not null and r.cost is not null
order by r.round, r.chunk_id;

-- name: piloted
-- A request of a pilot by whom it asked: the number of what it asked, cost and score as above;
-- without a scorer by any.
select q.row, q.target, s.value, (
    select case when bool_or(a.cost_nusd is null) then null else sum(a.cost_nusd) end::bigint
    from attempts a where a.part = q.part and a.job_id = q.job_id and a.seq = q.seq)
from jobs l
join requests q on q.part = l.part and q.job_id = l.id
join lateral (
  select round from results where part = q.part and job_id = q.job_id and seq = q.seq
  order by round desc limit 1
) r on true
join scores s on s.part = q.part and s.job_id = q.job_id and s.seq = q.seq and s.round = r.round
  and s.scorer = coalesce(%(scorer)s, s.scorer)
where l.parent_id = %(job_id)s and l.kind = 'pilot' and l.part = %(part)s
order by q.row, q.target;

-- name: policy
-- How the job's route chose, by its plans' reasons; empty where no router did.
select coalesce((
  select r.reasons ->> j.route from routes r
  where r.part = j.part and r.job_id = j.id and r.reasons ? j.route
  order by r.round desc, r.chunk_id limit 1), '')
from jobs j where j.id = %(job_id)s;

-- name: was_foreseen
select exists (
  select from routes where part = %(part)s and job_id = %(job_id)s and quality is not null);
