//! Values as text: one reading of each, for the command line and for the file, and the way back.

use std::time::Duration;

use clap::ValueEnum;

use crate::capture::CommitPace;
use crate::limits::TIME_MAX;

/// Where files of a root begin that the home never saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Begin {
    /// Everything is captured
    #[default]
    Start,
    /// Only what comes from now on
    End,
}

/// Units of bytes and how many bytes each has, the largest first.
const UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// What leaves a choice to the program.
const AUTO: &str = "auto";

/// A time with its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    match parsed.map(Duration::try_from) {
        Some(Ok(duration)) if !duration.is_zero() && duration <= TIME_MAX => Ok(duration),
        _ => Err("a time is a number and a unit, such as 2s, 100ms or 1m, above 0 and at most 24h".into()),
    }
}

/// The same as text.
pub fn show_duration(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |signed| format!("{signed:#}"))
}

/// The word `auto`, or a time.
pub fn commit_pace(text: &str) -> Result<CommitPace, String> {
    if text == AUTO {
        return Ok(CommitPace::Auto);
    }
    let fixed = duration(text).map(CommitPace::Fixed);
    fixed.map_err(|why| format!("it is `{AUTO}`, or a time; {why}"))
}

/// The same as text.
pub fn show_commit_pace(pace: CommitPace) -> String {
    match pace {
        CommitPace::Auto => AUTO.to_owned(),
        CommitPace::Fixed(interval) => show_duration(interval),
    }
}

/// A limit: there is no such thing as nothing at all.
pub fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("a limit is a whole number, at least 1".into()),
    }
}

/// A limit in bytes: a number, or a number and a unit.
pub fn bytes_or_unit(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let unit = UNITS.iter().find(|(name, _)| *name == unit.trim_start());
    let bytes = if unit.is_none() && number.len() < text.len() {
        None
    } else {
        let number = number.parse().ok();
        number.and_then(|number: u64| number.checked_mul(unit.map_or(1, |(_, bytes)| *bytes)))
    };
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| {
        "a size is a whole number of bytes, at least 1, or of KiB, MiB, GiB or TiB, such as \"2 GiB\"".into()
    })
}

/// The same as text, exactly: in the largest unit that divides it.
pub fn show_bytes(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, unit)| bytes.is_multiple_of(*unit) && bytes > 0);
    match unit {
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for bytes in [1, 1000, 1024, 1536, 2 << 30, u64::MAX] {
            assert_eq!(bytes_or_unit(&show_bytes(bytes)), Ok(bytes));
        }
        for millis in [1, 100, 2000, 90_000, 3_600_001, 24 * 3_600_000] {
            let time = Duration::from_millis(millis);
            assert_eq!(duration(&show_duration(time)), Ok(time));
        }
        for pace in [CommitPace::Auto, CommitPace::Fixed(Duration::from_millis(250))] {
            assert_eq!(commit_pace(&show_commit_pace(pace)), Ok(pace));
        }
        assert_eq!(show_commit_pace(CommitPace::Auto), "auto");
        assert_eq!(show_duration(Duration::from_secs(5)), "5s");
        assert_eq!(show_bytes(2 << 30), "2 GiB");
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for bad in [
            "",
            "0",
            "0 GiB",
            "-1",
            "1.5 GiB",
            "2 GB",
            "2G",
            "GiB",
            "1 gib",
            "16777216 TiB",
            " 1",
            "1 1",
        ] {
            assert!(bytes_or_unit(bad).is_err(), "{bad}");
        }
        assert_eq!(bytes_or_unit("2GiB"), Ok(2 << 30));
        assert_eq!(bytes_or_unit("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn what_is_no_pace_is_refused_with_both_forms() {
        for bad in ["", "Auto", "automatic", "0s", "-1s", "100", "25h"] {
            let why = commit_pace(bad).unwrap_err();
            assert!(why.contains("`auto`") && why.contains("100ms"), "{bad}: {why}");
        }
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for bad in ["0", "-1", "1.0", "", "18446744073709551616"] {
            assert!(at_least_one(bad).is_err(), "{bad}");
        }
    }
}
