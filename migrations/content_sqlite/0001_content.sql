-- Which groups of three characters the spans of a trace hold. All of it can be made again from the traces.

-- Pieces of at most some hundred kilobytes: number = trace's number * 4096 + number of the piece.
CREATE VIRTUAL TABLE pieces USING fts5 (
    text, tokenize = 'trigram', detail = 'none', content = '', contentless_delete = 1
);
-- How many pieces a trace has.
CREATE TABLE indexed (
    trace_no INTEGER PRIMARY KEY,
    pieces   INTEGER NOT NULL
);
-- Of which database of traces this is the index.
CREATE TABLE identity (
    id TEXT NOT NULL
);
