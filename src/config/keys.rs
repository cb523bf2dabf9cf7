//! The keys of the file, and which one is meant by a word that is none.

/// The keys of `tailspool.toml`, in the order in which they are printed.
pub const KEYS: [&str; 17] = [
    "home",
    "roots",
    "agents",
    "scope",
    "exclude",
    "glob",
    "from",
    "max-files",
    "source",
    "interval",
    "sweep-interval",
    "commit-interval",
    "max-pending-records",
    "max-pending-bytes",
    "on-full",
    "layout",
    "allow-network-home",
];

/// The keys of a table in `roots`.
pub(super) const ROOT_KEYS: [&str; 3] = ["path", "agent", "glob"];

/// How alike two words must be to be taken for each other, from 0 to 1.
const ALIKE: f64 = 0.7;

/// The word that is most like this one, if one is like it at all.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // Whoever writes max_files or MaxFiles means max-files.
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let word = plain(word);
    let alike = known
        .iter()
        .map(|known| (strsim::jaro_winkler(&plain(known), &word), *known));
    let best = alike.max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(alike, _)| *alike >= ALIKE).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_like_a_key_is_taken_for_it_and_another_one_is_not() {
        for (word, key) in [
            ("max_files", Some("max-files")),
            ("maxFiles", Some("max-files")),
            ("intervall", Some("interval")),
            ("excludes", Some("exclude")),
            ("root", Some("roots")),
            ("on_ful", Some("on-full")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &KEYS), key, "{word}");
        }
    }
}
