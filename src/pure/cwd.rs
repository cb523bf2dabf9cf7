//! Where a session works: the directory that its writer names in one of its first lines.

use serde_json::Value;

use crate::limits::{CWD_BYTES_MAX, CWD_LINE_BYTES_MAX};

/// Where agents write it, the ones at the top first.
const PLACES: [&str; 4] = ["/cwd", "/payload/cwd", "/data/context/cwd", "/metadata/cwd"];

/// The working directory that a line names, if it does.
///
/// Only a line that has the key is parsed, and only as deep as the parser recurses: this is a hint for people and
/// nothing hangs on it.
#[must_use]
pub fn cwd(line: &[u8]) -> Option<String> {
    if line.len() > CWD_LINE_BYTES_MAX {
        return None;
    }
    memchr::memmem::find(line, br#""cwd""#)?;
    let value: Value = serde_json::from_slice(line).ok()?;
    let mut found = PLACES.iter().filter_map(|place| value.pointer(place)?.as_str());
    found
        .find(|text| !text.is_empty() && text.len() <= CWD_BYTES_MAX)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_where_agents_write_it_and_nowhere_else() {
        for line in [
            r#"{"type":"user","cwd":"/w"}"#,
            r#"{"type":"session_meta","payload":{"id":"1","cwd":"/w"}}"#,
            r#"{"type":"session.start","data":{"context":{"cwd":"/w"}}}"#,
            r#"{"cwd":null,"metadata":{"cwd":"/w"}}"#,
        ] {
            assert_eq!(cwd(line.as_bytes()).as_deref(), Some("/w"), "{line}");
        }
        for line in [
            r#"{"input":{"cwd":"/w"}}"#,
            r#"{"text":"\"cwd\":\"/w\""}"#,
            r#"{"cwd":""}"#,
            r#"{"cwd":7}"#,
            r#"{"cwd":"/w""#,
            "",
        ] {
            assert_eq!(cwd(line.as_bytes()), None, "{line}");
        }
        let long = format!(r#"{{"cwd":"{}"}}"#, "x".repeat(CWD_BYTES_MAX + 1));
        assert_eq!(cwd(long.as_bytes()), None);
    }
}
