-- A job's beginning, its stop by a user, and its removal.

-- name: time_of
with asked as (
  select coalesce(%(at)s::timestamptz, clock_timestamp() + %(within)s::interval) as at
)
select at, at <= clock_timestamp() from asked;

-- name: next_job
-- In a transaction of its own: the row must not be held while a large file is read.
update job_numbers set last = last + 1 where id = 1 returning last;

-- name: give_back
update job_numbers set last = last - 1 where id = 1 and last = %(job_id)s;

-- name: put_job
-- Written after the requests: until the commit it holds a lock on the project's account.
insert into jobs (id, project_id, account_id, project_account_id, part, name, metadata, status,
  route, total, source, config_digest, weight, deadline, in_progress_at)
overriding system value
values (%(job_id)s, %(project_id)s, %(account_id)s, %(project_account_id)s, %(part)s, %(name)s,
  %(metadata)s, 'in_progress', %(route)s, %(total)s, %(source)s, %(config_digest)s,
  %(weight)s, %(deadline)s, clock_timestamp());

-- name: count_refused
insert into job_counters (job_id, deployment, writer, failed)
values (%(job_id)s, '', 0, %(failed)s);

-- name: put_event
insert into job_events (job_id, kind, data) values (%(job_id)s, %(kind)s, %(data)s);

-- name: hold_family
-- The job and those linked to it, the job first: linked ones are younger.
select id, status, part, account_id, paused, parent_id from jobs
where project_id = %(project_id)s and (id = %(job_id)s or parent_id = %(job_id)s)
order by id for no key update;

-- name: stop_job
update jobs set status = 'cancelling', stop = coalesce(stop, 'cancelled'),
  stopping_at = coalesce(stopping_at, now())
where id = %(job_id)s;

-- name: set_paused
update jobs set paused = %(paused)s where id = %(job_id)s;

-- name: unbind_unheld
-- Nobody holds these; what is held just now goes back as planned when its holder sees the pause.
with free as (
  select id from chunks
  where job_id = %(job_id)s and kind = 'call' and status in ('ready', 'waiting')
  order by id for update skip locked
)
update chunks c set status = 'planned', turn = 0, reason = '' from free where c.id = free.id;

-- name: drop_bound
with free as (
  select id from chunks
  where job_id = %(job_id)s and kind = 'call' and status in ('ready', 'waiting')
  order by id for update skip locked
)
update chunks c set status = 'done', owner = null from free where c.id = free.id;

-- name: await_routes
-- Returns when the route steps that are at work on the job have ended.
select id from chunks where job_id = %(job_id)s and kind = 'route' and status <> 'done'
order by id for update;

-- name: drop_unheld
-- Chunks that nobody holds; those under a lease end by themselves when their lane sees the stop.
with free as (
  select id from chunks
  where job_id = %(job_id)s and status in ('planned', 'ready', 'waiting')
  order by id for update skip locked
)
update chunks c set status = 'done', owner = null from free where c.id = free.id;

-- name: is_open
select exists (select from chunks where job_id = %(job_id)s and status <> 'done');

-- name: delete_rows_requests
delete from requests where part = %(part)s and job_id = any(%(job_ids)s::bigint[]);

-- name: delete_rows_routes
delete from routes where part = %(part)s and job_id = any(%(job_ids)s::bigint[]);

-- name: delete_rows_attempts
delete from attempts where part = %(part)s and job_id = any(%(job_ids)s::bigint[]);

-- name: delete_rows_results
delete from results where part = %(part)s and job_id = any(%(job_ids)s::bigint[]);

-- name: delete_rows_scores
delete from scores where part = %(part)s and job_id = any(%(job_ids)s::bigint[]);

-- name: delete_rows_replies
delete from replies where part = %(part)s and job_id = any(%(job_ids)s::bigint[]);

-- name: delete_jobs
delete from jobs where id = any(%(job_ids)s::bigint[]);

-- name: delete_ledger
delete from ledger where account_id = %(account_id)s;

-- name: delete_account
delete from accounts where id = %(account_id)s;
