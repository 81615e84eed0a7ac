-- What answers were worth: by the score step, or handed in by people.

-- name: put_scoring
insert into scorings (job_id, gold, scorer) values (%(job_id)s, %(gold)s, %(scorer)s);

-- name: is_unscored
select exists (select from scorings where job_id = %(job_id)s and not done);

-- name: take
-- Held for the rest of the transaction; nothing where another step has it, or nothing is to do.
-- A pass is the last one if its job had ended before it began.
select j.part, j.total, s.gold, s.scorer, s.scored_to,
  case when s.scored_to = 0 then now() else s.began_at end,
  case when s.scored_to = 0 then j.ended_at is not null else s.last end
from scorings s join jobs j on j.id = s.job_id
where s.job_id = %(job_id)s and not s.done
for no key update of s skip locked;

-- name: unscored
-- Answers without a score, of the requests of a range. The current result is the last round's.
select q.seq, r.round, q.metadata, r.body, r.deployment
from requests q
join (
  select distinct on (seq) seq, round, status, body, deployment from results
  where part = %(part)s and job_id = %(job_id)s and seq >= %(first)s and seq < %(last)s
  order by seq, round desc
) r on r.seq = q.seq
where q.part = %(part)s and q.job_id = %(job_id)s and q.seq >= %(first)s and q.seq < %(last)s
  and r.status = 'completed' and r.body is not null
  and not exists (select from scores s where s.part = %(part)s and s.job_id = %(job_id)s
    and s.seq = q.seq and s.round = r.round and s.scorer = %(scorer)s)
order by q.seq;

-- name: put
insert into scores (part, job_id, seq, round, scorer, value)
select %(part)s, %(job_id)s, u.seq, u.round, %(scorer)s, u.value
from unnest(%(seqs)s::int[], %(rounds)s::smallint[], %(values)s::float8[])
  as u (seq, round, value)
on conflict do nothing;

-- name: went
update scorings set scored_to = %(scored_to)s, began_at = %(began_at)s, last = %(last)s,
  done = %(last)s and %(scored_to)s = 0
where job_id = %(job_id)s;

-- name: due
-- Jobs that have ended and are not scored yet, those whose pass was left, and those whose
-- results come in: of these one pass after another, now and then. Not what a step is at.
select s.job_id from scorings s join jobs j on j.id = s.job_id
where not s.done and (j.ended_at is not null or s.scored_to > 0
  or j.in_progress_at is not null and (s.began_at is null
    or s.began_at < now() - %(pause)s * interval '1 second'))
order by s.job_id limit 100
for share of s skip locked;

-- name: job
select part from jobs where project_id = %(project_id)s and id = %(job_id)s;

-- name: known
-- The requests of some names, each with the round of its current result, null without one.
select q.custom_id, q.seq, (
  select max(r.round) from results r
  where r.part = q.part and r.job_id = q.job_id and r.seq = q.seq and r.status = 'completed')
from requests q
where q.part = %(part)s and q.job_id = %(job_id)s and q.custom_id = any(%(custom_ids)s::text[]);

-- name: import
insert into scores as s (part, job_id, seq, round, scorer, value)
select %(part)s, %(job_id)s, u.seq, u.round, u.scorer, u.value
from unnest(%(seqs)s::int[], %(rounds)s::smallint[], %(scorers)s::text[], %(values)s::float8[])
  as u (seq, round, scorer, value)
on conflict (part, job_id, seq, round, scorer) do update
set value = excluded.value, at = now() where s.value <> excluded.value;

-- name: summary
-- By scorer and by who answered; scores of results that a later round replaced are left out.
select s.scorer, r.deployment, count(*)::bigint, sum(s.value)::float8,
  sum(s.value * s.value)::float8
from scores s
join results r on r.part = s.part and r.job_id = s.job_id and r.seq = s.seq and r.round = s.round
where s.part = %(part)s and s.job_id = %(job_id)s and not exists (
  select from results later where later.part = s.part and later.job_id = s.job_id
    and later.seq = s.seq and later.round > s.round)
group by 1, 2 order by 1, 2;

-- name: answers
select coalesce(sum(completed), 0)::bigint from job_counters where job_id = %(job_id)s;

-- name: scoring
select s.gold, s.scorer, s.done from scorings s where s.job_id = %(job_id)s;
