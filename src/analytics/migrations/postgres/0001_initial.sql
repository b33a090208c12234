-- The same tables as in SQLite (../sqlite, which says what each column is for), for PostgreSQL.

CREATE TABLE runs (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL,
    ended BIGINT NOT NULL DEFAULT 0,
    again BIGINT NOT NULL
);

CREATE TABLE sessions (
    id BYTEA NOT NULL PRIMARY KEY,
    viewer BYTEA,
    path TEXT NOT NULL,
    protocol TEXT NOT NULL,
    transport TEXT NOT NULL,
    client TEXT NOT NULL,
    machine BIGINT NOT NULL,
    started_ms BIGINT NOT NULL,
    open BIGINT NOT NULL,
    counted BIGINT NOT NULL DEFAULT 0,
    country TEXT NOT NULL DEFAULT '',
    firsts BIGINT NOT NULL DEFAULT 0,
    viewed_ms BIGINT,
    ended_ms BIGINT,
    watched_ms BIGINT NOT NULL DEFAULT 0,
    cut BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE spans (
    session BYTEA NOT NULL,
    number BIGINT NOT NULL,
    started_ms BIGINT NOT NULL,
    ended_ms BIGINT,
    PRIMARY KEY (session, number)
);

CREATE TABLE visits (
    id BYTEA NOT NULL PRIMARY KEY,
    viewer BYTEA,
    day BIGINT NOT NULL,
    hour BIGINT,
    path TEXT NOT NULL,
    client TEXT,
    country TEXT,
    length BIGINT NOT NULL
);

CREATE TABLE tallies (
    hour BIGINT NOT NULL,
    scope TEXT NOT NULL,
    kind TEXT NOT NULL,
    bucket BIGINT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (kind, scope, hour, bucket)
);

CREATE TABLE leaves (
    day BIGINT NOT NULL,
    scope TEXT NOT NULL,
    dimension TEXT NOT NULL,
    value TEXT NOT NULL,
    sessions BIGINT NOT NULL,
    viewers BIGINT NOT NULL,
    watch_ms BIGINT NOT NULL,
    peak BIGINT NOT NULL,
    views BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (dimension, scope, day, value)
);
