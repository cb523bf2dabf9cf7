//! The rules, apart from all IO: nothing here knows a file, a thread, a clock or the environment.

pub mod account;
pub mod chain;
pub mod commit;
pub mod cwd;
pub mod entry;
pub mod fold;
pub mod identity;
pub mod lines;
pub mod merge;
pub mod name;
pub mod rare;
pub mod record;
pub mod role;
pub mod scrub;
pub mod sighting;
pub mod special;
pub mod step;
pub mod ulids;
