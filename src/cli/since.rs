//! Times as people name them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

/// A time ago, such as `7d`, counted from now; a date, or a date and time, in the zone of this machine where it names none.
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(span) = text.parse::<Span>() {
        return ago(span, text.trim_end().ends_with("ago"));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let local = text.parse::<DateTime>();
    let zoned = local.and_then(|local| local.to_zoned(TimeZone::system()));
    zoned
        .map(|zoned| zoned.timestamp())
        .map_err(|_| "a time is a number and a unit, such as 30m, 12h or 7d, or a date, such as 2026-11-01".into())
}

fn ago(span: Span, is_said: bool) -> Result<Timestamp, String> {
    if span.is_negative() && !is_said {
        return Err("it lies in the future".into());
    }
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err("years and months are not of one length; say how many days, or a date".into());
    }
    let time = span.abs().to_duration(SpanRelativeTo::days_are_24_hours());
    let at = time.and_then(|time| Timestamp::now().checked_sub(time));
    at.map_err(|_| "that is too long ago".into())
}
