-- Hours are added up as soon as they are over, and day by day only what was already added up is kept. Exact times lie
-- in the store for an hour at most (longer only of sessions that last longer).

-- Country of the viewer's masked address, or '' where none is looked up.
ALTER TABLE sessions ADD COLUMN country TEXT NOT NULL DEFAULT '';
-- Bits: whether its viewer came for the first time today at all, to this path, by this protocol ... (`firsts`).
-- So distinct viewers of a day are counted without keeping who was there.
ALTER TABLE sessions ADD COLUMN firsts INTEGER NOT NULL DEFAULT 0;
-- When the view that it began had been watched for ten seconds; NULL: not yet, or another session's view;
-- -1 once counted.
ALTER TABLE sessions ADD COLUMN viewed_ms INTEGER;
-- When it ended; NULL while it is open.
ALTER TABLE sessions ADD COLUMN ended_ms INTEGER;
-- How long it played, of what was added up already; all of it once it ended.
ALTER TABLE sessions ADD COLUMN watched_ms INTEGER NOT NULL DEFAULT 0;
-- 1 when the stream or the relay ended it, and not its viewer.
ALTER TABLE sessions ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;

-- What was stored before knew nothing of firsts. Numbers of viewers are of one day, so the first of each can be found.
CREATE INDEX sessions_of_viewers ON sessions (viewer);
UPDATE sessions SET
    ended_ms = CASE open WHEN 1 THEN NULL
        ELSE coalesce((SELECT max(ended_ms) FROM spans WHERE session = sessions.id), started_ms) END,
    watched_ms = coalesce((SELECT sum(ended_ms - started_ms) FROM spans WHERE session = sessions.id), 0);
UPDATE sessions SET firsts =
    (NOT EXISTS (SELECT 1 FROM sessions o WHERE o.viewer = sessions.viewer AND o.id < sessions.id))
    + 2 * (NOT EXISTS (SELECT 1 FROM sessions o WHERE o.viewer = sessions.viewer AND o.id < sessions.id
        AND o.path = sessions.path))
    + 4 * (NOT EXISTS (SELECT 1 FROM sessions o WHERE o.viewer = sessions.viewer AND o.id < sessions.id
        AND o.protocol = sessions.protocol))
    + 8 * (NOT EXISTS (SELECT 1 FROM sessions o WHERE o.viewer = sessions.viewer AND o.id < sessions.id
        AND o.path = sessions.path AND o.protocol = sessions.protocol))
    + 16 * (NOT EXISTS (SELECT 1 FROM sessions o WHERE o.viewer = sessions.viewer AND o.id < sessions.id
        AND o.transport = sessions.transport))
    + 32 * (NOT EXISTS (SELECT 1 FROM sessions o WHERE o.viewer = sessions.viewer AND o.id < sessions.id
        AND o.path = sessions.path AND o.transport = sessions.transport))
    WHERE counted = 0;
DROP INDEX sessions_of_viewers;

-- Sessions that are over and added up, one by one, kept for some days. A row comes in only when at least k viewers
-- share all that it says; what is rarer loses its player, then its country, then its hour, and else gets no row.
CREATE TABLE visits (
    -- sessions.id, so that who holds it can have the row deleted.
    id BLOB NOT NULL PRIMARY KEY,
    -- sessions.viewer; NULL a day after its calendar day closed.
    viewer BLOB,
    -- Calendar day in the configured time zone, days since 1970-01-01.
    day INTEGER NOT NULL,
    -- First second of the hour in which it began, or NULL.
    hour INTEGER,
    -- The configured name of the path.
    path TEXT NOT NULL,
    -- Family of the player, or NULL.
    client TEXT,
    -- Country, or NULL.
    country TEXT,
    -- Class of its length, 0 (to ten seconds) to 9 (more than four hours).
    length INTEGER NOT NULL
) WITHOUT ROWID;

-- Counts that are of no viewer, or of too many to be of one: per hour, after some months per day.
CREATE TABLE tallies (
    -- First second of the hour (of the day, once merged).
    hour INTEGER NOT NULL,
    -- A path, or '' for the relay.
    scope TEXT NOT NULL,
    -- 'attempts', 'startup', 'loss', 'jumps', 'online', 'residual'.
    kind TEXT NOT NULL,
    -- Class of a histogram; 0 where there is only one.
    bucket INTEGER NOT NULL,
    -- How many; for 'online' milliseconds.
    n INTEGER NOT NULL,
    PRIMARY KEY (kind, scope, hour, bucket)
) WITHOUT ROWID;

-- The same leaves in the order in which they are asked for, with views. Dimensions are now also 'country', 'length'
-- (sessions that ended, `value` the class of their length) and 'cut' (those of them that the stream ended).
CREATE TABLE leaves_anew (
    day INTEGER NOT NULL,
    scope TEXT NOT NULL,
    dimension TEXT NOT NULL,
    value TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    viewers INTEGER NOT NULL,
    watch_ms INTEGER NOT NULL,
    peak INTEGER NOT NULL,
    -- Views: sessions of one viewer with at most a minute between them, watched for ten seconds or longer.
    views INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (dimension, scope, day, value)
) WITHOUT ROWID;
INSERT INTO leaves_anew SELECT day, scope, dimension, value, sessions, viewers, watch_ms, peak, 0 FROM leaves;
DROP TABLE leaves;
ALTER TABLE leaves_anew RENAME TO leaves;
