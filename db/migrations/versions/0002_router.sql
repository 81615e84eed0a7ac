-- The router's tables.

CREATE TABLE router_models (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    project_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    task TEXT NOT NULL,
    promoted BOOLEAN DEFAULT false NOT NULL,
    body BYTEA NOT NULL,
    info JSONB DEFAULT '{}' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_router_models PRIMARY KEY (id),
    CONSTRAINT uq_router_models_project_id_name_version UNIQUE (project_id, name, version),
    CONSTRAINT ck_router_models_task CHECK (task in ('choice', 'intent')),
    CONSTRAINT fk_router_models_project_id_projects FOREIGN KEY(project_id) REFERENCES projects (id)
);

CREATE UNIQUE INDEX ix_router_models_promoted ON router_models (project_id, name) WHERE promoted;

CREATE TABLE waves (
    job_id BIGINT NOT NULL,
    wave INTEGER NOT NULL,
    body JSONB NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_waves PRIMARY KEY (job_id, wave),
    CONSTRAINT fk_waves_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE TABLE scores (
    part INTEGER NOT NULL,
    job_id BIGINT NOT NULL,
    seq INTEGER NOT NULL,
    round SMALLINT NOT NULL,
    scorer TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_scores PRIMARY KEY (part, job_id, seq, round, scorer)
)
 PARTITION BY LIST (part);

CREATE TABLE scorings (
    job_id BIGINT NOT NULL,
    gold TEXT NOT NULL,
    scorer TEXT NOT NULL,
    scored_to INTEGER DEFAULT 0 NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE,
    last BOOLEAN DEFAULT false NOT NULL,
    done BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT pk_scorings PRIMARY KEY (job_id),
    CONSTRAINT fk_scorings_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE INDEX ix_scorings_due ON scorings (job_id) WHERE not done;

CREATE TABLE replies (
    part INTEGER NOT NULL,
    job_id BIGINT NOT NULL,
    seq INTEGER NOT NULL,
    n SMALLINT NOT NULL,
    round SMALLINT NOT NULL,
    deployment TEXT NOT NULL,
    body TEXT NOT NULL,
    score REAL,
    CONSTRAINT pk_replies PRIMARY KEY (part, job_id, seq, n)
)
 PARTITION BY LIST (part);

-- What the route step predicted, packed: arrays in the order of seqs; `quality` and `cost` (USD
-- for 1,000 calls) are float16 numbers, a row of candidates for each request.
ALTER TABLE routes
    ADD COLUMN intents TEXT[],
    ADD COLUMN intent_probability REAL[],
    ADD COLUMN candidates TEXT[],
    ADD COLUMN quality BYTEA,
    ADD COLUMN cost BYTEA,
    ADD COLUMN propensity REAL[];

-- Cascades: which step answered, and how often a cheap answer was not enough.
ALTER TABLE results ADD COLUMN step TEXT;
ALTER TABLE job_counters ADD COLUMN escalations INTEGER DEFAULT 0 NOT NULL;

CREATE INDEX ix_chunks_plan ON chunks (job_id, id) WHERE kind = 'plan' and status <> 'done';

-- Parts that exist already get their share of the new tables.
DO $$
DECLARE
    part_id INTEGER;
BEGIN
    FOR part_id IN SELECT id FROM parts LOOP
        EXECUTE format('CREATE TABLE scores_p%s PARTITION OF scores FOR VALUES IN (%s)', part_id, part_id);
        EXECUTE format('CREATE TABLE replies_p%s PARTITION OF replies FOR VALUES IN (%s)', part_id, part_id);
    END LOOP;
END $$;

-- Whose call failed before a retry or a fallback; drained stands beside a deployment's health.

ALTER TABLE chunks ADD COLUMN came_from SMALLINT;

ALTER TABLE deployment_state ADD COLUMN drained BOOLEAN DEFAULT false NOT NULL;
UPDATE deployment_state SET status = 'open', cause = NULL, reason = '', drained = true
    WHERE status = 'drained';

-- Linked jobs: they share their parent's account, part, project, weight and deadline.

CREATE TABLE links (
    job_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    seq INTEGER NOT NULL,
    linked_id BIGINT NOT NULL,
    linked_seq INTEGER NOT NULL,
    CONSTRAINT pk_links PRIMARY KEY (job_id, kind, seq),
    CONSTRAINT ck_links_kind CHECK (kind in ('clarified', 'intent', 'pilot')),
    CONSTRAINT fk_links_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE,
    CONSTRAINT fk_links_linked_id_jobs FOREIGN KEY(linked_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE INDEX ix_links_linked_id ON links (linked_id);

CREATE INDEX ix_jobs_parent_id ON jobs (parent_id) WHERE parent_id IS NOT NULL;

-- Results without a call.
ALTER TABLE job_counters
    ADD COLUMN out_of_scope INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN needs_clarification INTEGER DEFAULT 0 NOT NULL;
