//! A corpus of session logs as agents write them, from a seed, and what must be captured of it.

pub(crate) mod check;
mod claude;
mod codex;
mod dirt;
mod draw;
pub(crate) mod make;
pub(crate) mod manifest;
mod others;
mod pen;
mod stored;
mod text;
pub(crate) mod tree;
