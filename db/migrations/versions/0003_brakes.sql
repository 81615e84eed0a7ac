-- Fair order knows the size of every job's next chunk without looking at it.
ALTER TABLE turns ADD COLUMN head INTEGER DEFAULT 0 NOT NULL;

-- What holds calls back.
CREATE TABLE brakes (
    deployment TEXT NOT NULL,
    process_id BIGINT NOT NULL,
    scope TEXT NOT NULL,
    what TEXT NOT NULL,
    most DOUBLE PRECISION NOT NULL,
    share REAL NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_brakes PRIMARY KEY (deployment, process_id, scope, what),
    CONSTRAINT fk_brakes_process_id_processes FOREIGN KEY(process_id) REFERENCES processes (id) ON DELETE CASCADE
);
