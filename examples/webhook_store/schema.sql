-- Deliveries as received, each event once, until its record is stored. JSON that PostgreSQL cannot convert
-- must not be lost, so a body is bytes.
CREATE TABLE IF NOT EXISTS webhook_events (
    key text PRIMARY KEY,
    body bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    problem text
);

CREATE INDEX IF NOT EXISTS webhook_events_due ON webhook_events (due_at) WHERE state = 'waiting';

-- Records as received. `json` keeps each number and escape sequence, some of which `jsonb` rejects.
CREATE TABLE IF NOT EXISTS activities (
    id text PRIMARY KEY,
    record json NOT NULL,
    fetched_at timestamptz NOT NULL
);
