-- Times are milliseconds since 1970 (UTC). `id` is the SHA-256 of the bytes, in hexadecimal.
CREATE TABLE documents (
    id          TEXT COLLATE "C" PRIMARY KEY,
    name        TEXT NOT NULL,
    media_type  TEXT NOT NULL,
    bytes       BIGINT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('queued', 'processing', 'ready', 'needs_ocr', 'failed')),
    pages_done  BIGINT NOT NULL DEFAULT 0,
    pages_total BIGINT NOT NULL DEFAULT 0,
    n_sentences BIGINT NOT NULL DEFAULT 0,
    note        TEXT NOT NULL DEFAULT '',
    created_ms  BIGINT NOT NULL,
    updated_ms  BIGINT NOT NULL
);
CREATE INDEX documents_newest ON documents (created_ms DESC, id DESC);

-- `words` is what the index sees: folded words with their positions.
CREATE TABLE sentences (
    document_id TEXT COLLATE "C" NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    position    BIGINT NOT NULL,
    page        BIGINT NOT NULL,
    block       BIGINT NOT NULL,
    text        TEXT NOT NULL,
    words       TSVECTOR NOT NULL,
    PRIMARY KEY (document_id, position)
);
CREATE INDEX sentences_words ON sentences USING gin (words);

-- A job is `running` while its lease lasts; after that any worker may take it over.
CREATE TABLE jobs (
    document_id TEXT COLLATE "C" PRIMARY KEY REFERENCES documents (id) ON DELETE CASCADE,
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'dead')),
    attempts    BIGINT NOT NULL DEFAULT 0,
    due_ms      BIGINT NOT NULL,
    lease_token TEXT NOT NULL DEFAULT '',
    error       TEXT NOT NULL DEFAULT ''
);
CREATE INDEX jobs_due ON jobs (due_ms) WHERE state <> 'dead';
