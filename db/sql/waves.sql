-- The plan of whole jobs, wave by wave: what is left of a job, what it spent, and what goes out.

-- name: due
-- Jobs that are routed, have requests without a plan, and little that is out: as little as their
-- last wave said.
select j.id from jobs j
where j.ended_at is null and j.stop is null and not j.paused
  and (%(job_ids)s::bigint[] is null or j.id = any(%(job_ids)s::bigint[]))
  and exists (select from chunks where job_id = j.id and kind = 'plan' and status <> 'done')
  and not exists (select from chunks where job_id = j.id and kind = 'route' and status <> 'done')
  and coalesce((select sum(size) from chunks
      where job_id = j.id and kind = 'call' and status <> 'done'), 0)
    <= coalesce((select (body ->> 'low')::int from waves
      where job_id = j.id order by wave desc limit 1), 2147483647)
order by j.id limit 100;

-- name: lock
-- All that waits for a plan, or nothing: two steps at once would promise the same money. Integers
-- come as they are stored, 8 bytes each behind a head: a million requests are not a million objects.
select c.id, c.round, c.plan_id, c.excluded, c.among, c.came_from, array_send(c.seqs),
  array_send(c.tokens), array_send(c.text_bytes), array_send(c.overheads), array_send(c.outputs)
from chunks c
where c.job_id = %(job_id)s and c.kind = 'plan' and c.status = 'planned'
order by c.id
for update nowait;

-- name: plans
select id, body from plans where id = any(%(ids)s::bigint[]);

-- name: counts
select id, tries, calls from chunks where id = any(%(ids)s::bigint[]);

-- name: out
-- What is out, by deployment and plan: requests that are sent and not settled, or not sent yet.
-- Read before the money: what is settled in between counts twice rather than not at all.
select c.deployment, array_agg(e.seq),
  coalesce(sum(e.bound) filter (where not (c.status = 'leased' and e.i <= c.sent)), 0)::bigint
from chunks c
cross join lateral unnest(c.seqs, c.calls, c.bounds) with ordinality as e (seq, calls, bound, i)
where c.job_id = %(job_id)s and c.kind = 'call' and c.status <> 'done'
  and (not (c.status = 'leased' and e.i <= c.sent) or not exists (
    select from attempts a where a.part = %(part)s and a.job_id = c.job_id and a.seq = e.seq
      and a.n = e.calls + 1))
group by c.deployment;

-- name: others
-- What other jobs have at each deployment, bound or planned for it first.
select deployment, count(distinct job_id)::int, sum(size - sent)::bigint from chunks
where kind = 'call' and status <> 'done' and deployment <> '' and job_id <> %(job_id)s
group by deployment;

-- name: job
select j.project_id, j.part, j.total, j.account_id,
  j.stop is null and j.ended_at is null and not j.paused and not exists (
    select from chunks where job_id = j.id and kind = 'route' and status <> 'done'),
  extract(epoch from j.deadline - now())::float8,
  least(a.limit_nusd - a.spent_nusd, p.limit_nusd - p.spent_nusd - p.reserved_nusd
    + a.reserved_nusd), a.spent_nusd, a.reserved_nusd,
  coalesce(w.waves, 0), coalesce(w.released, 0)::bigint, coalesce(w.quality, 0)::float8
from jobs j
join accounts a on a.id = j.account_id
join accounts p on p.id = j.project_account_id
left join lateral (
  -- What went out again counts once.
  select max(wave) as waves,
    sum((body ->> 'requests')::int - coalesce((body #>> '{again,requests}')::int, 0)) as released,
    sum((body ->> 'requests')::int * (body ->> 'quality')::float8
      - coalesce((body #>> '{again,quality}')::float8, 0)) as quality
  from waves where job_id = j.id
) w on true
where j.id = %(job_id)s;

-- name: foreseen
select array_send(seqs), candidates, quality, cost from routes
where part = %(part)s and job_id = %(job_id)s and candidates is not null
order by round, chunk_id;

-- name: answered
-- What answers truly cost, of one request in `every`.
select array_agg(seq), array_agg(deployment), array_agg(cost_nusd) from attempts
where part = %(part)s and job_id = %(job_id)s and status = 'ok' and cost_nusd is not null
  and seq %% %(every)s = 0;

-- name: put_chunk
insert into chunks (job_id, part, round, plan_id, candidate, came_from, excluded, among, deployment,
  size, seqs, tries, calls, tokens, text_bytes, overheads, outputs, bounds, status)
values (%(job_id)s, %(part)s, %(round)s, %(plan_id)s, %(candidate)s, %(came_from)s, %(excluded)s,
  %(among)s, %(deployment)s, %(size)s, %(seqs)s, %(tries)s, %(calls)s, %(tokens)s, %(text_bytes)s,
  %(overheads)s, %(outputs)s, %(bounds)s, 'planned');

-- name: keep
-- The requests at these places (from 1) stay, the others have gone out.
update chunks c set size = cardinality(k.seqs), seqs = k.seqs, tries = k.tries, calls = k.calls,
  tokens = k.tokens, text_bytes = k.text_bytes, overheads = k.overheads, outputs = k.outputs,
  bounds = k.bounds, status = case when k.seqs = '{}' then 'done' else c.status end
from (
  select coalesce(array_agg(e.seq order by e.i), '{}') as seqs,
    coalesce(array_agg(e.tries order by e.i), '{}') as tries,
    coalesce(array_agg(e.calls order by e.i), '{}') as calls,
    coalesce(array_agg(e.tokens order by e.i), '{}') as tokens,
    coalesce(array_agg(e.text_bytes order by e.i), '{}') as text_bytes,
    coalesce(array_agg(e.overhead order by e.i), '{}') as overheads,
    coalesce(array_agg(e.output order by e.i), '{}') as outputs,
    coalesce(array_agg(e.bound order by e.i), '{}') as bounds
  from chunks h
  -- Laid out once: each h.seqs[i] would unpack the whole array again.
  cross join lateral unnest(h.seqs, h.tries, h.calls, h.tokens, h.text_bytes, h.overheads,
    h.outputs, h.bounds) with ordinality
    as e (seq, tries, calls, tokens, text_bytes, overhead, output, bound, i)
  join unnest(%(places)s::int[]) as p (i) on p.i = e.i
  where h.id = %(id)s
) k
where c.id = %(id)s;

-- name: close
update chunks set status = 'done' where id = any(%(ids)s::bigint[]);

-- name: put_wave
insert into waves (job_id, wave, body) values (%(job_id)s, %(wave)s, %(body)s);

-- name: exhaust
update jobs set stop = 'budget_exhausted', stopping_at = now()
where id = %(job_id)s and stop is null;

-- name: waves
select wave, body, at from waves where job_id = %(job_id)s order by wave;

-- name: last_wave
select wave, body, at from waves where job_id = %(job_id)s order by wave desc limit 1;
