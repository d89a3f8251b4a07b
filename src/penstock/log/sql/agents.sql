-- Version 2: agents, beside the log.
--
-- A definition is the JSON of penstock.agents.Agent. Times are seconds since 1970.

CREATE TABLE agents (
  n          INTEGER PRIMARY KEY,   -- rises with creation
  id         TEXT NOT NULL UNIQUE,
  name       TEXT NOT NULL UNIQUE,  -- the one in the latest definition
  latest     INTEGER NOT NULL,      -- number of the latest revision
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL          -- when the latest revision was stored
);

CREATE TABLE revisions (
  agent      INTEGER NOT NULL,      -- agents.n
  number     INTEGER NOT NULL,      -- from 1, dense
  id         TEXT NOT NULL UNIQUE,
  created_at REAL NOT NULL,
  form       INTEGER NOT NULL,      -- the version of definitions that it was written in
  crc        INTEGER NOT NULL,      -- CRC-32 of definition
  definition BLOB NOT NULL,
  UNIQUE (agent, number)
);
