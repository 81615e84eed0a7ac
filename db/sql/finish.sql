-- The end of a job.

-- name: hold
select status, stop, total, part from jobs where id = %(id)s for no key update;

-- name: open
select exists (select from chunks where job_id = %(id)s and status <> 'done');

-- name: end
update jobs set status = %(status)s, ended_at = now(),
  finalizing_at = coalesce(finalizing_at, now())
where id = %(id)s;

-- name: event
insert into job_events (job_id, kind, data) values (%(id)s, %(kind)s, %(data)s);

-- name: unfinished
-- Jobs whose end nobody rang in.
select j.id from jobs j
where j.ended_at is null and j.status in ('in_progress', 'finalizing', 'cancelling')
  and not exists (select from chunks c where c.job_id = j.id and c.status <> 'done')
limit 100;

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
