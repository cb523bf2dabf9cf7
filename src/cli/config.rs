//! `tailspool config`.

use super::options::SettingsArgs;
use super::{Common, Exit, json, print};
use crate::config::{to_json, to_toml};
use crate::error::Error;

/// Options of `config`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print one line of JSON instead of TOML
    #[arg(long, help_heading = "What is printed")]
    json: bool,
}

/// Prints what is in force, and where each value came from.
pub(super) fn run(common: &Common, args: Args) -> Result<Exit, Error> {
    let settings = args.settings.settings(common)?;
    let place = common.config_place()?;
    print(if args.json {
        json(&to_json(&settings, &place))?
    } else {
        to_toml(&settings, &place)
    })?;
    Ok(Exit::Well)
}
