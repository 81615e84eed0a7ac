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
update jobs set stop = 'expired', stopping_at = now()
where ended_at is null and stop is null and deadline < now();

-- name: drop_unsent
-- A route step that was at work while its job was stopped may have planned chunks since.
update chunks c set status = 'done' from jobs j
where j.id = c.job_id and j.ended_at is null and j.stop is not null
  and c.status in ('planned', 'ready', 'waiting');
