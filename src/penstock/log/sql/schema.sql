-- The SQLite log, version 1.
--
-- What is appended goes to the journal, one row for all streams of a commit
-- window, and moves from there into segments, stream by stream, somewhat later.
-- Times are seconds since 1970. Offsets count records of a stream, from 0.

CREATE TABLE streams (
  id         INTEGER PRIMARY KEY,  -- rises with creation
  name       TEXT,                 -- NULL: deleted; the row goes when its segments have gone
  epoch      TEXT NOT NULL,
  first      INTEGER NOT NULL,     -- offset of the oldest record
  next       INTEGER NOT NULL,     -- the segments end here; what follows is in the journal
  origin     INTEGER NOT NULL,     -- where the last answer before `next` begins; -1: none does
  sealed     INTEGER NOT NULL,
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  oldest_at  REAL NOT NULL,        -- time of the record at `first`
  doomed     INTEGER               -- segments before `first` may go once the journal begins after this row
);
-- Not unique: a deleted stream may be settled after the next one of its name.
CREATE INDEX streams_by_name ON streams (name);
CREATE INDEX streams_open ON streams (id) WHERE sealed = 0;
CREATE INDEX streams_by_age ON streams (oldest_at) WHERE first < next;
CREATE INDEX streams_forgotten ON streams (updated_at) WHERE first = next;
CREATE INDEX streams_doomed ON streams (doomed) WHERE doomed IS NOT NULL;

CREATE TABLE journal (
  n    INTEGER PRIMARY KEY,
  crc  INTEGER NOT NULL,           -- CRC-32 of data
  data BLOB NOT NULL               -- MessagePack: a list of entries
);

CREATE TABLE segments (
  stream INTEGER NOT NULL,
  first  INTEGER NOT NULL,         -- offset of its first record
  count  INTEGER NOT NULL,
  origin INTEGER NOT NULL,         -- where the last answer before `first` begins; -1: none does
  until  REAL NOT NULL,            -- time of its last record
  crc    INTEGER NOT NULL,         -- CRC-32 of meta, then data
  meta   BLOB NOT NULL,            -- MessagePack: [[[count, at], ...], [offset of each answer's beginning, ...]]
  data   BLOB NOT NULL,            -- the events as JSON lines
  PRIMARY KEY (stream, first)
) WITHOUT ROWID;
