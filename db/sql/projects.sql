-- Projects and their accounts.

-- name: put_project
insert into projects (name, weight) values (%(name)s, %(weight)s) on conflict (name) do nothing;

-- name: put_weights
-- The configuration says who weighs what; a project that it has lost weighs 1 again.
with given as (
  select * from unnest(%(names)s::text[], %(weights)s::real[]) as g (name, weight)
), others as (
  update projects p set weight = 1
  where p.weight <> 1 and not exists (select from given g where g.name = p.name)
)
insert into projects as p (name, weight) select name, weight from given order by name
on conflict (name) do update set weight = excluded.weight where p.weight <> excluded.weight;

-- name: project
select id from projects where name = %(name)s;

-- name: put_account
insert into accounts (project_id, kind, ref, limit_nusd)
values (%(project_id)s, %(kind)s, %(ref)s, %(limit_nusd)s)
on conflict (project_id, kind, ref) do nothing;

-- name: account
select id from accounts where project_id = %(project_id)s and kind = %(kind)s and ref = %(ref)s;

-- name: list
select p.name, p.weight,
  (select count(*) from jobs j where j.project_id = p.id and j.ended_at is null),
  (select count(*) from jobs j where j.project_id = p.id),
  coalesce((select a.spent_nusd from accounts a
    where a.project_id = p.id and a.kind = 'project' and a.ref = ''), 0)
from projects p order by p.name;
