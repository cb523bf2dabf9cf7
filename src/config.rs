//! The settings: what the config file, the command line, the environment and the defaults say, and who said what.
//!
//! `tailspool.toml` has a key for each long option of `watch` that is worth keeping, under the same name. The command
//! line goes before the file, and the file before the default; only scopes and excludes add up, so that what the file
//! excludes stays excluded whatever is asked for.

mod cells;
mod document;
mod file;
mod keys;
mod layer;
mod place;
mod print;
mod settings;
mod value;

pub use file::ConfigFile;
pub use keys::{KEYS, nearest};
pub use layer::{Given, Layer, Origin};
pub use place::{Place, find};
pub use print::{to_json, to_toml};
pub use settings::{Settings, home_of};
pub use value::{
    Begin, at_least_one, bytes_or_unit, commit_pace, duration, show_bytes, show_commit_pace, show_duration,
};
