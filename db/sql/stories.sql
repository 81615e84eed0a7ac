-- The answers to "what happened to it?" and "what went wrong?".

-- name: job
select part, status from jobs
where project_id = %(project_id)s and id = %(job_id)s;

-- name: request
select seq, custom_id, row, variant, target, metadata, length(body) as body_chars from requests
where part = %(part)s and job_id = %(job_id)s and custom_id = %(custom_id)s
order by seq limit 1;

-- name: plans
-- What the route step chose for the request, once a round.
select r.round, p.body, r.tokens[u.i] as tokens, r.reasons, r.at, r.intents[u.i] as intent,
  r.intent_probability[u.i] as probability, r.propensity[u.i] as propensity, r.candidates,
  substring(r.quality from (u.i - 1) * 2 * cardinality(r.candidates) + 1
    for 2 * cardinality(r.candidates)) as quality,
  substring(r.cost from (u.i - 1) * 2 * cardinality(r.candidates) + 1
    for 2 * cardinality(r.candidates)) as cost
from routes r
cross join lateral (select array_position(r.seqs, %(seq)s::int) as i) u
join plans p on p.id = r.plan_ids[u.i]
where r.part = %(part)s and r.job_id = %(job_id)s and r.seqs @> array[%(seq)s::int]
order by r.round, r.at;

-- name: elsewhere
-- Requests of linked jobs that answer for this one.
select l.kind, l.linked_id as job_id, q.custom_id, r.status
from links l
join requests q on q.part = %(part)s and q.job_id = l.linked_id and q.seq = l.linked_seq
left join lateral (
  select status from results
  where part = %(part)s and job_id = l.linked_id and seq = l.linked_seq
  order by round desc limit 1
) r on true
where l.job_id = %(job_id)s and l.seq = %(seq)s order by l.linked_id;

-- name: job_plans
select p.body, count(*)::bigint
from routes r
cross join lateral unnest(r.plan_ids) as u (plan_id)
join plans p on p.id = u.plan_id
where r.part = %(part)s and r.job_id = %(job_id)s
group by p.id, p.body order by count(*) desc, p.id limit 50;

-- name: calls
select a.n, a.round, a.deployment, a.status, a.error_class, a.error, a.http_status,
  a.input_tokens, a.output_tokens, a.cost_nusd, a.bound_nusd, a.latency_ms, a.at,
  coalesce(c.choice, '') as choice
from attempts a left join chunks c on c.id = a.chunk_id
where a.part = %(part)s and a.job_id = %(job_id)s and a.seq = %(seq)s order by a.n;

-- name: outcome
select round, status, deployment, n, http_status, request_id, error, step, at
from results where part = %(part)s and job_id = %(job_id)s and seq = %(seq)s
order by round desc limit 1;

-- name: whereabouts
select c.kind, c.status, c.deployment, c.reason, c.candidate, c.choice,
  extract(epoch from c.not_before - now())::float8 as due,
  c.tries[u.i] as tries, c.status = 'leased' and u.i <= c.sent as sent
from chunks c
cross join lateral (select array_position(c.seqs, %(seq)s::int) as i) u
where c.job_id = %(job_id)s and c.status <> 'done' and c.seqs @> array[%(seq)s::int]
order by c.id desc limit 1;

-- name: called
select distinct deployment from job_counters where job_id = %(job_id)s;

-- name: attempt_errors
select coalesce(error_class, status), count(*)::bigint, count(distinct seq)::bigint
from attempts
where part = %(part)s and job_id = %(job_id)s and status <> 'ok'
group by 1;

-- name: attempt_samples
select q.custom_id, a.deployment, a.error from (
  select seq, deployment, error from attempts
  where part = %(part)s and job_id = %(job_id)s and status <> 'ok'
    and coalesce(error_class, status) = %(class)s
  limit %(limit)s
) a join requests q on q.part = %(part)s and q.job_id = %(job_id)s and q.seq = a.seq
order by q.seq;

-- name: failed
-- Failed requests by the class their error names, else by its code.
select coalesce(r.error::json -> 'class', r.error::json -> 'code')::text, count(*)::bigint,
  (array_agg(r.seq order by r.seq))[:%(limit)s::int]
from results r
where r.part = %(part)s and r.job_id = %(job_id)s and r.status = 'failed'
group by 1;

-- name: failed_samples
select q.custom_id, r.deployment, (r.error::json -> 'message')::text
from results r
join requests q on q.part = r.part and q.job_id = r.job_id and q.seq = r.seq
where r.part = %(part)s and r.job_id = %(job_id)s and r.seq = any(%(seqs)s::int[])
  and r.status = 'failed'
order by r.seq;

-- name: not_run
-- An ended job that was stopped: its requests without a result, and its budget.
select j.stop, j.total - coalesce(c.ended, 0) as requests, a.limit_nusd, a.spent_nusd
from jobs j
join accounts a on a.id = j.account_id
left join lateral (
  select sum(completed + failed + out_of_scope + needs_clarification)::bigint as ended
  from job_counters where job_id = j.id
) c on true
where j.id = %(job_id)s and j.ended_at is not null and j.stop is not null
  and j.total > coalesce(c.ended, 0);

-- name: cheapest
-- The least that a call which was not made might have cost.
select min(b) from chunks c cross join lateral unnest(c.bounds[c.sent + 1:]) as b
where c.job_id = %(job_id)s and c.kind = 'call';
