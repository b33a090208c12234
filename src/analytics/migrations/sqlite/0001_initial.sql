-- Sessions of readers, without who. Every column says what it holds and why it is there; no column is made
-- of an address, an agent string, a user name, a query or a token.
--
-- Times are integer milliseconds since 1970 (UTC). Milliseconds, because watch time must be right to a
-- second when many short spans are added up, and because a viewer who comes half a second after another
-- left must not make a peak of two. They are gone two days later: see `leaves`.
--
-- Tables of sessions are WITHOUT ROWID and keyed by a random number, so that the order in which rows lie in
-- the file does not tell the order in which viewers came.

-- One start of the relay.
CREATE TABLE runs (
    -- Counts up.
    id INTEGER PRIMARY KEY,
    -- When the relay started.
    started_ms INTEGER NOT NULL,
    -- When it was last known to run: written every two seconds while anybody watches. Where a run did not
    -- end by itself (power, kill -9), the sessions that it left open are taken to have ended then.
    seen_ms INTEGER NOT NULL,
    -- 1 when it ended by itself.
    ended INTEGER NOT NULL DEFAULT 0,
    -- 1 when there was a run before it, so that it is a restart: pseudonyms changed, viewers may count
    -- twice.
    again INTEGER NOT NULL
);

-- One reader that received at least one access unit. Deleted a day after its calendar day closed.
CREATE TABLE sessions (
    -- 128 random bits; says nothing.
    id BLOB NOT NULL PRIMARY KEY,
    -- The random number that stands for its viewer in the day in which the session began, to count distinct
    -- viewers. Not computed from anything. NULL once the day was added up.
    viewer BLOB,
    -- The configured name of the path.
    path TEXT NOT NULL,
    -- 'rtsp', 'mjpeg', ...
    protocol TEXT NOT NULL,
    -- 'tcp' or 'udp'.
    transport TEXT NOT NULL,
    -- Family of the player, out of a closed list.
    client TEXT NOT NULL,
    -- 1 for recorders, relays and monitors, which are no audience.
    machine INTEGER NOT NULL,
    -- When it began: it counts in that hour and day.
    started_ms INTEGER NOT NULL,
    -- 1 until it ended.
    open INTEGER NOT NULL,
    -- 1 once it was added up into leaves; what it plays after that still is to be.
    counted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- When a session played: pauses lie between its spans. Deleted with the day, or cut at its end.
CREATE TABLE spans (
    -- sessions.id
    session BLOB NOT NULL,
    -- 0, 1, 2 ... within the session.
    number INTEGER NOT NULL,
    -- First moment.
    started_ms INTEGER NOT NULL,
    -- Last moment; NULL while it plays.
    ended_ms INTEGER,
    PRIMARY KEY (session, number)
) WITHOUT ROWID;

-- What days were like, as counts. One row per day, scope and one fact; never two facts crossed.
CREATE TABLE leaves (
    -- Calendar day in the configured time zone, days since 1970-01-01.
    day INTEGER NOT NULL,
    -- A path, or '' for all paths together (distinct viewers and peaks of paths do not add up).
    scope TEXT NOT NULL,
    -- What the row is about: 'all', 'protocol', 'transport', 'client', 'hour', 'machines'.
    dimension TEXT NOT NULL,
    -- Which: 'rtsp', 'VLC', the hour's first second since 1970; '' where there is only one.
    value TEXT NOT NULL,
    -- Sessions that began.
    sessions INTEGER NOT NULL,
    -- Distinct viewers of those; for an hour, distinct viewers who watched in it.
    viewers INTEGER NOT NULL,
    -- Milliseconds watched within the day.
    watch_ms INTEGER NOT NULL,
    -- Most sessions that played at the same time.
    peak INTEGER NOT NULL,
    PRIMARY KEY (day, scope, dimension, value)
) WITHOUT ROWID;
