-- The end of a job.

-- name: hold
select status, stop, total, part, round from jobs where id = %(id)s for no key update;

-- name: open
-- Or more may come: what its parent has not routed yet may have intents to be asked for.
select exists (select from chunks where job_id = %(id)s and status <> 'done') or exists (
  select from jobs j join chunks c on c.job_id = j.parent_id
  where j.id = %(id)s and j.kind = 'intent' and j.stop is null
    and c.kind = 'route' and c.status <> 'done' and c.reason <> 'intent');

-- name: end
update jobs set status = %(status)s, ended_at = now(),
  finalizing_at = coalesce(finalizing_at, now())
where id = %(id)s;

-- name: let_go
-- What waited for the job at its parent. What waits for a pilot waits for its lesson, too.
update chunks c set status = 'ready', reason = '', not_before = now()
from jobs j
where j.id = %(id)s and c.job_id = j.parent_id and c.kind = 'route' and c.status = 'waiting'
  and c.reason = j.kind and j.kind <> 'pilot';

-- name: score_again
-- What a later round has answered is not scored yet.
update scorings set done = false where job_id = %(id)s and done;

-- name: event
insert into job_events (job_id, kind, data) values (%(id)s, %(kind)s, %(data)s);

-- name: unfinished
-- Jobs whose end nobody rang in.
select j.id from jobs j
where j.ended_at is null and j.status in ('in_progress', 'finalizing', 'cancelling')
  and not exists (select from chunks c where c.job_id = j.id and c.status <> 'done')
  and (j.kind <> 'intent' or j.stop is not null or not exists (
    select from chunks c
    where c.job_id = j.parent_id and c.kind = 'route' and c.status <> 'done'
      and c.reason <> 'intent'))
limit 100;

-- name: abandoned
-- What only serves a parent that takes no more work has nothing to serve.
with left_over as (
  select c.id, p.stop from jobs c join jobs p on p.id = c.parent_id
  where c.ended_at is null and c.stop is null and p.stop is not null
    and c.kind in ('intent', 'pilot')
  order by c.id for no key update of c skip locked
)
update jobs j set stop = left_over.stop, stopping_at = now() from left_over where j.id = left_over.id;

-- name: overdue
with late as (
  select id from jobs where ended_at is null and stop is null and deadline < now()
  order by id for no key update skip locked
)
update jobs j set stop = 'expired', stopping_at = now() from late where j.id = late.id;

-- name: drop_unsent
-- What a stopped job has not sent: a route step that was at work may have planned chunks since.
with free as (
  select c.id from jobs j join chunks c on c.job_id = j.id
  where j.ended_at is null and j.stop is not null and c.status in ('planned', 'ready', 'waiting')
  order by c.id for update of c skip locked
)
update chunks c set status = 'done' from free where c.id = free.id;
