//! A smaller model for looks of which nobody can say what they find: what stands captured at the end.

use std::collections::{BTreeMap, BTreeSet};

use tailspool::event::{Detail, Event};
use ulid::Ulid;

use super::known::Known;
use super::oracle::{decoded, size};
use super::world::World;

/// What stands captured of a file, by offset.
type Standing = BTreeMap<usize, Piece>;

struct Piece {
    line: Vec<u8>,
    terminated: bool,
    /// It had no newline when its file was cut: whether it is remembered then, nobody says.
    is_unsure: bool,
}

/// Each log that stands is captured to its last newline, in one file, and no line of it at one place twice.
pub(crate) fn is_captured(world: &World, events: &[Event]) -> Result<(), String> {
    let mut files = BTreeMap::<Ulid, Standing>::new();
    for event in events {
        note(files.entry(event.file_id).or_default(), event)?;
    }
    for file in world.files.iter().filter(|file| file.logs().next().is_some()) {
        let whole = file
            .content
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let is_it = |standing: &Standing| {
            captured(standing, &file.content[..whole]).is_some_and(|known| known.holds(&file.content))
        };
        if whole > 0 && !files.values().any(is_it) {
            let content = String::from_utf8_lossy(&file.content);
            return Err(format!(
                "{:?} is not what was captured of any file: {content:?}",
                file.names
            ));
        }
    }
    Ok(())
}

/// Where programs only append to logs, move and remove them, no line comes twice.
pub(crate) fn no_line_twice(events: &[Event]) -> Result<(), String> {
    let mut lines = BTreeSet::new();
    for event in events {
        if let Some(line) = line_of(event)
            && !lines.insert(line)
        {
            return Err(format!("captured twice: {event:?}"));
        }
    }
    Ok(())
}

fn note(standing: &mut Standing, event: &Event) -> Result<(), String> {
    match &event.detail {
        Detail::Truncate {
            was, kept, kept_from, ..
        } => {
            let gone = size(*kept)..kept_from.map_or(usize::MAX, size);
            let stands = |offset: usize, piece: &Piece| !piece.terminated || offset >= size(*was);
            standing.retain(|offset, piece| !gone.contains(offset) || (kept_from.is_none() && stands(*offset, piece)));
            for piece in standing.values_mut() {
                piece.is_unsure |= !piece.terminated;
            }
        }
        Detail::Append {
            offset,
            terminated,
            replaces,
            ..
        } => {
            let piece = Piece {
                line: line_of(event).unwrap_or_default(),
                terminated: *terminated,
                is_unsure: false,
            };
            let before = standing.insert(size(*offset), piece);
            if before.is_some_and(|before| !before.is_unsure) && replaces.is_none() {
                return Err(format!("captured twice at one place: {event:?}"));
            }
        }
        Detail::New { .. } | Detail::Rotate { .. } | Detail::Delete { .. } => {}
    }
    Ok(())
}

fn line_of(event: &Event) -> Option<Vec<u8>> {
    let Detail::Append { line, line_base64, .. } = &event.detail else {
        return None;
    };
    let line = line.as_ref().map(|line| line.clone().into_bytes());
    line.or_else(|| line_base64.as_ref().map(|base64| decoded(base64)))
}

/// The bytes that were captured of these, which end with a newline; of blank lines nothing was. None when there is more
/// than that.
fn captured(standing: &Standing, whole: &[u8]) -> Option<Known> {
    let mut bytes = vec![b'\n'; whole.len()];
    for (offset, piece) in standing {
        let place = *offset..offset + piece.line.len();
        if piece.is_unsure && whole.get(place.clone()) != Some(&piece.line) {
            continue;
        }
        match bytes.get_mut(place) {
            Some(place) if *offset < whole.len() => place.copy_from_slice(&piece.line),
            _ if piece.terminated => return None,
            _ => {}
        }
    }
    Some(Known::of(bytes))
}
