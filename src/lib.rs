//! Keeps every line that programs append to JSONL session logs.
