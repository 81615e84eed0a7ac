-- Trained models of a project: names with versions, of each name one promoted at most.

-- name: one_at_a_time
-- Two trainings that end together get two versions.
select from projects where id = %(project_id)s for no key update;

-- name: put
insert into router_models (project_id, name, version, task, body, info)
select %(project_id)s, %(name)s, coalesce(max(version), 0) + 1, %(task)s, %(body)s, %(info)s
from router_models where project_id = %(project_id)s and name = %(name)s
returning version;

-- name: task
select task from router_models where project_id = %(project_id)s and name = %(name)s limit 1;

-- name: list
select name, version, task, promoted, info, octet_length(body) as size, created_at
from router_models
where project_id = %(project_id)s and (%(name)s::text is null or name = %(name)s::text)
order by name, version desc;

-- name: read
-- A version; without one the promoted version, or where there is none the newest.
select id, version, body, info, promoted from router_models
where project_id = %(project_id)s and name = %(name)s
  and (%(version)s::int is null or version = %(version)s::int)
order by promoted desc, version desc limit 1;

-- name: promoted
select id, version, body, info, promoted from router_models
where project_id = %(project_id)s and name = %(name)s and promoted;

-- name: promoted_id
select id from router_models where project_id = %(project_id)s and name = %(name)s and promoted;

-- name: promoted_info
select info from router_models
where project_id = %(project_id)s and name = %(name)s and promoted;

-- name: body_of
select body from router_models where id = %(id)s;

-- name: demote
update router_models set promoted = false
where project_id = %(project_id)s and name = %(name)s and promoted;

-- name: promote
update router_models set promoted = true
where project_id = %(project_id)s and name = %(name)s and version = %(version)s
returning version;
