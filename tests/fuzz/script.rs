//! A script that is accepted says the same when it is written again, and names nothing outside its tree.

use std::path::Path;

use serde_json::Value;
use tailspool::replay::Script;

use super::data::Data;

const SCRIPTS: [&[u8]; 6] = [
    include_bytes!("../../fixtures/trees/odd-lines/script.jsonl"),
    include_bytes!("../../fixtures/trees/symlinks-are-left-alone/script.jsonl"),
    include_bytes!("../../fixtures/trees/file-fails-in-every-way/script.jsonl"),
    include_bytes!("../../fixtures/trees/hard-link/script.jsonl"),
    include_bytes!("../../fixtures/trees/from-end/script.jsonl"),
    include_bytes!("../../fixtures/trees/unreadable-directory/script.jsonl"),
];

pub(crate) fn run(bytes: &[u8]) {
    let mut data = Data::new(bytes);
    let mut text = SCRIPTS[data.below(SCRIPTS.len())].to_vec();
    let first = parse(&text).unwrap();
    assert_eq!(first.steps.len() + 1, text.split(|byte| *byte == b'\n').count() - 1);
    data.damage(&mut text);
    let lines: Vec<_> = text
        .strip_suffix(b"\n")
        .unwrap_or(&text)
        .split(|byte| *byte == b'\n')
        .collect();
    let script = match parse(&text) {
        Ok(script) => script,
        Err(error) => {
            let number = error.strip_prefix("cannot play s:").unwrap().split(':').next().unwrap();
            assert!((1..=lines.len()).contains(&number.parse().unwrap()), "{error}");
            return;
        }
    };
    let numbers = script.steps.iter().map(|step| step.line);
    assert!(numbers.eq(2..=lines.len()), "each line behind the head is one step");
    for line in &lines {
        stays_inside(&serde_json::from_slice(line).unwrap());
    }

    let mut again = serde_json::to_vec(&script.head).unwrap();
    for step in &script.steps {
        again.push(b'\n');
        serde_json::to_writer(&mut again, &step.operation).unwrap();
    }
    assert_eq!(parse(&again).unwrap(), script);
}

fn parse(text: &[u8]) -> Result<Script, String> {
    Script::parse(text, Path::new("s")).map_err(|error| error.with_causes())
}

/// Every path in a line, by the rule as a reader would write it down.
fn stays_inside(line: &Value) {
    let paths = ["path", "from", "to"].iter().filter_map(|key| line[key].as_str());
    let roots = line["roots"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for path in paths.chain(roots) {
        let is_inside = !path.starts_with('/') && path.split('/').all(|part| part != "..");
        assert!(is_inside && !path.is_empty() && !path.contains('\0'), "{path:?}");
    }
    let target = line["target"].as_str().unwrap_or_default();
    let depth = line["path"]
        .as_str()
        .unwrap_or_default()
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .count();
    let ups = target.split('/').filter(|part| *part == "..").count();
    assert!(!target.starts_with('/') && (ups == 0 || ups < depth), "{line}");
}
