-- The first schema. Frozen: change the schema by a new migration.

CREATE TABLE attempts (
    part INTEGER NOT NULL,
    job_id BIGINT NOT NULL,
    seq INTEGER NOT NULL,
    n SMALLINT NOT NULL,
    round SMALLINT NOT NULL,
    deployment TEXT NOT NULL,
    status TEXT NOT NULL,
    error_class TEXT,
    error TEXT,
    http_status SMALLINT,
    input_tokens INTEGER,
    cached_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    cost_nusd BIGINT,
    bound_nusd BIGINT NOT NULL,
    latency_ms INTEGER NOT NULL,
    chunk_id BIGINT DEFAULT 0 NOT NULL,
    commit_id BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_attempts PRIMARY KEY (part, job_id, seq, n),
    CONSTRAINT ck_attempts_status CHECK (status in ('ok', 'error', 'unknown', 'late', 'resolved'))
)
 PARTITION BY LIST (part);

CREATE TABLE deployment_state (
    deployment TEXT NOT NULL,
    status TEXT DEFAULT 'open' NOT NULL,
    cause TEXT,
    reason TEXT DEFAULT '' NOT NULL,
    trips SMALLINT DEFAULT 0 NOT NULL,
    margin DOUBLE PRECISION DEFAULT 1 NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_deployment_state PRIMARY KEY (deployment),
    CONSTRAINT ck_deployment_state_status CHECK (status in ('open', 'cooling', 'probing', 'disabled', 'paused', 'drained'))
);

CREATE TABLE lanes (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    provider TEXT NOT NULL,
    status TEXT DEFAULT 'queued' NOT NULL,
    process_id BIGINT,
    issued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_lanes PRIMARY KEY (id),
    CONSTRAINT ck_lanes_status CHECK (status in ('queued', 'running'))
);

CREATE TABLE ledger (
    commit_id BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    amount_nusd BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_ledger PRIMARY KEY (commit_id, account_id, kind),
    CONSTRAINT ck_ledger_kind CHECK (kind in ('reserve', 'settle', 'release', 'adjust'))
);

CREATE INDEX ix_ledger_account_id ON ledger (account_id);

CREATE TABLE parts (
    id INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_parts PRIMARY KEY (id)
);

CREATE TABLE plans (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    digest TEXT NOT NULL,
    body JSONB NOT NULL,
    CONSTRAINT pk_plans PRIMARY KEY (id),
    CONSTRAINT uq_plans_digest UNIQUE (digest)
);

CREATE TABLE processes (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    controls BOOLEAN DEFAULT false NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    renewed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    lease_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_processes PRIMARY KEY (id)
);

CREATE TABLE projects (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    name TEXT NOT NULL,
    weight REAL DEFAULT 1 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_projects PRIMARY KEY (id),
    CONSTRAINT uq_projects_name UNIQUE (name)
);

CREATE TABLE provider_checks (
    provider TEXT NOT NULL,
    failures INTEGER DEFAULT 0 NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_provider_checks PRIMARY KEY (provider)
);

CREATE TABLE deployment_vitals (
    deployment TEXT NOT NULL,
    process_id BIGINT NOT NULL,
    in_flight INTEGER DEFAULT 0 NOT NULL,
    answered BIGINT DEFAULT 0 NOT NULL,
    failed BIGINT DEFAULT 0 NOT NULL,
    latency_ms REAL,
    output_tokens REAL,
    rate REAL DEFAULT 0 NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_deployment_vitals PRIMARY KEY (deployment, process_id),
    CONSTRAINT fk_deployment_vitals_process_id_processes FOREIGN KEY(process_id) REFERENCES processes (id) ON DELETE CASCADE
);

CREATE TABLE job_numbers (
    id INTEGER NOT NULL,
    last BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_job_numbers PRIMARY KEY (id),
    CONSTRAINT ck_job_numbers_one CHECK (id = 1)
);

CREATE TABLE dispatches (
    id INTEGER NOT NULL,
    at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_dispatches PRIMARY KEY (id),
    CONSTRAINT ck_dispatches_one CHECK (id = 1)
);

CREATE TABLE requests (
    part INTEGER NOT NULL,
    job_id BIGINT NOT NULL,
    seq INTEGER NOT NULL,
    custom_id TEXT NOT NULL,
    row INTEGER NOT NULL,
    variant SMALLINT DEFAULT 0 NOT NULL,
    target TEXT NOT NULL,
    body TEXT NOT NULL,
    metadata TEXT,
    prompt_hash BYTEA NOT NULL,
    wishes TEXT,
    CONSTRAINT pk_requests PRIMARY KEY (part, job_id, seq)
)
 PARTITION BY LIST (part);

CREATE TABLE results (
    part INTEGER NOT NULL,
    job_id BIGINT NOT NULL,
    seq INTEGER NOT NULL,
    round SMALLINT NOT NULL,
    status TEXT NOT NULL,
    deployment TEXT DEFAULT '' NOT NULL,
    n SMALLINT DEFAULT 0 NOT NULL,
    http_status SMALLINT,
    request_id TEXT,
    body TEXT,
    error TEXT,
    commit_id BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_results PRIMARY KEY (part, job_id, seq, round)
)
 PARTITION BY LIST (part);

CREATE TABLE routes (
    part INTEGER NOT NULL,
    job_id BIGINT NOT NULL,
    chunk_id BIGINT NOT NULL,
    round SMALLINT NOT NULL,
    seqs INTEGER[] NOT NULL,
    plan_ids BIGINT[] NOT NULL,
    tokens INTEGER[] NOT NULL,
    reasons JSONB DEFAULT '{}' NOT NULL,
    model_version TEXT DEFAULT '' NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_routes PRIMARY KEY (part, job_id, chunk_id)
)
 PARTITION BY LIST (part);

CREATE TABLE turns (
    deployment TEXT NOT NULL,
    project_id BIGINT NOT NULL,
    job_id BIGINT NOT NULL,
    reached DOUBLE PRECISION NOT NULL,
    clock DOUBLE PRECISION DEFAULT 0 NOT NULL,
    CONSTRAINT pk_turns PRIMARY KEY (deployment, project_id, job_id)
)
 WITH (fillfactor = 50);

CREATE TABLE accounts (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    project_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    ref TEXT NOT NULL,
    spent_nusd BIGINT DEFAULT 0 NOT NULL,
    reserved_nusd BIGINT DEFAULT 0 NOT NULL,
    limit_nusd BIGINT,
    CONSTRAINT pk_accounts PRIMARY KEY (id),
    CONSTRAINT uq_accounts_project_id_kind_ref UNIQUE (project_id, kind, ref),
    CONSTRAINT ck_accounts_kind CHECK (kind in ('job', 'key', 'project', 'deployment')),
    CONSTRAINT ck_accounts_reserved CHECK (reserved_nusd >= 0),
    CONSTRAINT ck_accounts_spent CHECK (spent_nusd >= 0),
    CONSTRAINT fk_accounts_project_id_projects FOREIGN KEY(project_id) REFERENCES projects (id)
);

CREATE TABLE jobs (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    project_id BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    project_account_id BIGINT NOT NULL,
    part INTEGER NOT NULL,
    kind TEXT DEFAULT 'live' NOT NULL,
    parent_id BIGINT,
    name TEXT DEFAULT '' NOT NULL,
    metadata JSONB DEFAULT '{}' NOT NULL,
    status TEXT DEFAULT 'validating' NOT NULL,
    stop TEXT,
    route TEXT NOT NULL,
    round SMALLINT DEFAULT 1 NOT NULL,
    weight REAL DEFAULT 1 NOT NULL,
    paused BOOLEAN DEFAULT false NOT NULL,
    total INTEGER DEFAULT 0 NOT NULL,
    source TEXT DEFAULT '' NOT NULL,
    config_digest TEXT DEFAULT '' NOT NULL,
    errors JSONB,
    deadline TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    in_progress_at TIMESTAMP WITH TIME ZONE,
    finalizing_at TIMESTAMP WITH TIME ZONE,
    stopping_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_jobs PRIMARY KEY (id),
    CONSTRAINT fk_jobs_project_id_projects FOREIGN KEY(project_id) REFERENCES projects (id),
    CONSTRAINT fk_jobs_account_id_accounts FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_jobs_project_account_id_accounts FOREIGN KEY(project_account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_jobs_active ON jobs (id) WHERE ended_at is null;

CREATE INDEX ix_jobs_project_id_id ON jobs (project_id, id);

CREATE TABLE chunks (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    job_id BIGINT NOT NULL,
    part INTEGER NOT NULL,
    round SMALLINT DEFAULT 1 NOT NULL,
    kind TEXT DEFAULT 'call' NOT NULL,
    mode TEXT DEFAULT 'live' NOT NULL,
    plan_id BIGINT,
    candidate SMALLINT DEFAULT 0 NOT NULL,
    excluded BIGINT DEFAULT 0 NOT NULL,
    among TEXT DEFAULT '' NOT NULL,
    deployment TEXT DEFAULT '' NOT NULL,
    size INTEGER NOT NULL,
    seqs INTEGER[] NOT NULL,
    tries SMALLINT[] NOT NULL,
    calls SMALLINT[] NOT NULL,
    tokens INTEGER[] NOT NULL,
    text_bytes INTEGER[] DEFAULT '{}' NOT NULL,
    overheads INTEGER[] DEFAULT '{}' NOT NULL,
    outputs INTEGER[] DEFAULT '{}' NOT NULL,
    bounds BIGINT[] NOT NULL,
    sent INTEGER DEFAULT 0 NOT NULL,
    status TEXT NOT NULL,
    owner BIGINT,
    fence INTEGER DEFAULT 0 NOT NULL,
    not_before TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    turn DOUBLE PRECISION DEFAULT 0 NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    choice TEXT DEFAULT '' NOT NULL,
    external_id TEXT,
    CONSTRAINT pk_chunks PRIMARY KEY (id),
    CONSTRAINT ck_chunks_size CHECK (cardinality(seqs) = size and sent between 0 and size),
    CONSTRAINT ck_chunks_among CHECK (among in ('', 'too_long', 'refused')),
    CONSTRAINT fk_chunks_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
)
 WITH (fillfactor = 80);

CREATE INDEX ix_chunks_claim ON chunks (deployment, turn, not_before, id) WHERE status in ('ready', 'waiting') and kind = 'call';

CREATE INDEX ix_chunks_open ON chunks (job_id) WHERE status <> 'done';

CREATE INDEX ix_chunks_owner ON chunks (owner) WHERE status = 'leased';

CREATE INDEX ix_chunks_planned ON chunks (deployment, plan_id, job_id, id) WHERE status = 'planned';

CREATE INDEX ix_chunks_route ON chunks (job_id, id) WHERE kind = 'route' and status <> 'done';

CREATE TABLE job_counters (
    job_id BIGINT NOT NULL,
    deployment TEXT NOT NULL,
    writer BIGINT NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    errors INTEGER DEFAULT 0 NOT NULL,
    throttled INTEGER DEFAULT 0 NOT NULL,
    unknown INTEGER DEFAULT 0 NOT NULL,
    retries INTEGER DEFAULT 0 NOT NULL,
    fallbacks INTEGER DEFAULT 0 NOT NULL,
    completed INTEGER DEFAULT 0 NOT NULL,
    failed INTEGER DEFAULT 0 NOT NULL,
    unpriced INTEGER DEFAULT 0 NOT NULL,
    input_tokens BIGINT DEFAULT 0 NOT NULL,
    output_tokens BIGINT DEFAULT 0 NOT NULL,
    cost_nusd BIGINT DEFAULT 0 NOT NULL,
    latency_ms BIGINT DEFAULT 0 NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_job_counters PRIMARY KEY (job_id, deployment, writer),
    CONSTRAINT fk_job_counters_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
)
 WITH (fillfactor = 50);

CREATE TABLE job_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    job_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    data JSONB DEFAULT '{}' NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_job_events PRIMARY KEY (id),
    CONSTRAINT fk_job_events_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE INDEX ix_job_events_job_id ON job_events (job_id);

insert into projects (name) values ('default');

insert into dispatches (id) values (1);

insert into job_numbers (id) values (1);
