//! From the names of one look to those of the next: which renames, links and removals lead there.

use std::collections::{BTreeMap, BTreeSet};

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Thing {
    Directory,
    /// And where it points.
    Symlink(String),
    /// A file by its number; several names of one number are hard links.
    File(u64),
}

/// What stands where, relative to the tree. A directory stands before what is in it.
pub(super) type Names = BTreeMap<String, Thing>;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Mkdir(String),
    /// A file that was not there before, with its content.
    Create {
        file: u64,
        at: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove(String),
    Hardlink {
        from: String,
        to: String,
    },
    Symlink {
        path: String,
        target: String,
    },
}

/// The steps that lead from `before` to `after`; `temporary` gives names that nothing has, at the top.
///
/// Every new file is made before any file goes, so that no filesystem can give it the inode number of one
/// that went. A new file takes the path of another one by a rename over it.
pub(super) fn plan(before: &Names, after: &Names, temporary: &mut dyn FnMut() -> String) -> Vec<Step> {
    let mut planner = Planner {
        now: before.clone(),
        after,
        temporary,
        parked: Vec::new(),
        steps: Vec::new(),
    };
    let (were, are) = (places(before), places(after));
    planner.make_directories();
    planner.create(&were, &are);
    planner.rename(&were, &are);
    planner.unpark();
    planner.remove();
    planner.make_directories();
    planner.unpark();
    planner.link(&are);
    planner.steps
}

type Places<'a> = BTreeMap<u64, BTreeSet<&'a str>>;

/// The names of each file.
fn places(names: &Names) -> Places<'_> {
    let mut places = Places::new();
    for (path, thing) in names {
        if let Thing::File(file) = thing {
            places.entry(*file).or_default().insert(path);
        }
    }
    places
}

struct Planner<'a> {
    /// What stands where after the steps up to now.
    now: Names,
    after: &'a Names,
    temporary: &'a mut dyn FnMut() -> String,
    /// Files under a temporary name, and where they belong.
    parked: Vec<(String, String)>,
    steps: Vec<Step>,
}

impl Planner<'_> {
    fn make_directories(&mut self) {
        for (path, thing) in self.after {
            if *thing == Thing::Directory && !self.now.contains_key(path) && self.has_room_above(path) {
                self.now.insert(path.clone(), Thing::Directory);
                self.steps.push(Step::Mkdir(path.clone()));
            }
        }
    }

    fn create(&mut self, were: &Places<'_>, are: &Places<'_>) {
        for (file, places) in are.iter().filter(|(file, _)| !were.contains_key(file)) {
            let Some(path) = places.first() else { continue };
            let at = if !self.now.contains_key(*path) && self.has_room_above(path) {
                (*path).to_owned()
            } else {
                self.park(path)
            };
            self.now.insert(at.clone(), Thing::File(*file));
            self.steps.push(Step::Create { file: *file, at });
        }
    }

    /// Moves the files that are under none of their names any more: the last one of a chain first, one of a
    /// cycle through a temporary name.
    fn rename(&mut self, were: &Places<'_>, are: &Places<'_>) {
        let mut moves = BTreeMap::new();
        for (file, old) in were {
            let Some(new) = are.get(file) else { continue };
            if let (true, Some(from), Some(to)) = (old.is_disjoint(new), old.first(), new.first()) {
                moves.insert((*from).to_owned(), (*to).to_owned());
            }
        }
        while !moves.is_empty() {
            let waiting: Vec<_> = moves.keys().cloned().collect();
            let mut progress = false;
            for from in waiting {
                let free = moves.get(&from).is_some_and(|to| self.can_take(to, &moves));
                if let (true, Some(to)) = (free, moves.get(&from).cloned()) {
                    moves.remove(&from);
                    self.step_rename(from, to);
                    progress = true;
                }
            }
            if !progress && let Some((from, to)) = moves.pop_first() {
                let parked = self.park(&to);
                self.step_rename(from, parked);
            }
        }
    }

    /// Whether a file can be renamed to this path: nothing is there, or a file that does not wait itself.
    fn can_take(&self, to: &str, waiting: &BTreeMap<String, String>) -> bool {
        let free = match self.now.get(to) {
            None => true,
            Some(Thing::File(_)) => !waiting.contains_key(to),
            Some(Thing::Directory | Thing::Symlink(_)) => false,
        };
        free && self.has_room_above(to)
    }

    /// Whether everything above a path is a directory by now.
    fn has_room_above(&self, path: &str) -> bool {
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
        above.all(|above| self.now.get(above) == Some(&Thing::Directory))
    }

    fn step_rename(&mut self, from: String, to: String) {
        if let Some(thing) = self.now.remove(&from) {
            self.now.insert(to.clone(), thing);
        }
        self.steps.push(Step::Rename { from, to });
    }

    /// A temporary name for what belongs to this path.
    fn park(&mut self, path: &str) -> String {
        let parked = (self.temporary)();
        self.parked.push((parked.clone(), path.to_owned()));
        parked
    }

    /// Gives what is parked its name, where that is possible by now.
    fn unpark(&mut self) {
        for (parked, path) in std::mem::take(&mut self.parked) {
            if self.can_take(&path, &BTreeMap::new()) {
                self.step_rename(parked, path);
            } else {
                self.parked.push((parked, path));
            }
        }
    }

    /// Removes what is not there any more, a directory with all that is left in it.
    fn remove(&mut self) {
        let parked: BTreeSet<&String> = self.parked.iter().map(|(parked, _)| parked).collect();
        let gone = |(path, thing): &(&String, &Thing)| self.after.get(*path) != Some(*thing) && !parked.contains(path);
        let gone: Vec<String> = self.now.iter().filter(gone).map(|(path, _)| path.clone()).collect();
        for path in gone {
            if self.now.remove(&path).is_some() {
                let below = format!("{path}/");
                self.now.retain(|other, _| !other.starts_with(&below));
                self.steps.push(Step::Remove(path));
            }
        }
    }

    /// Makes the hard links and symlinks that are missing.
    fn link(&mut self, are: &Places<'_>) {
        for (file, places) in are {
            let there = |path: &&&str| self.now.get(**path) == Some(&Thing::File(*file));
            let Some(from) = places.iter().find(there).map(|path| (*path).to_owned()) else {
                continue;
            };
            for path in places {
                if !self.now.contains_key(*path) {
                    let (from, to) = (from.clone(), (*path).to_owned());
                    self.now.insert(to.clone(), Thing::File(*file));
                    self.steps.push(Step::Hardlink { from, to });
                }
            }
        }
        for (path, thing) in self.after {
            if let (Thing::Symlink(target), None) = (thing, self.now.get(path)) {
                self.now.insert(path.clone(), thing.clone());
                let (path, target) = (path.clone(), target.clone());
                self.steps.push(Step::Symlink { path, target });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Does the steps as a filesystem would, and insists on what it would insist on.
    fn done(before: &Names, steps: &[Step]) -> Names {
        let mut now = before.clone();
        let mut freed = false;
        for step in steps {
            let new = match step {
                Step::Mkdir(path) | Step::Symlink { path, .. } => Some(path),
                Step::Create { at, .. } => Some(at),
                Step::Hardlink { to, .. } => Some(to),
                Step::Rename { to, .. } => {
                    assert!(matches!(now.get(to), None | Some(Thing::File(_))), "{step:?}");
                    freed |= now.contains_key(to);
                    for (at, _) in to.match_indices('/') {
                        assert_eq!(now.get(&to[..at]), Some(&Thing::Directory), "{step:?}");
                    }
                    None
                }
                Step::Remove(_) => None,
            };
            if let Some(path) = new {
                assert!(!now.contains_key(path), "{step:?}");
                for (at, _) in path.match_indices('/') {
                    assert_eq!(now.get(&path[..at]), Some(&Thing::Directory), "{step:?}");
                }
            }
            match step.clone() {
                Step::Mkdir(path) => drop(now.insert(path, Thing::Directory)),
                Step::Create { file, at } => {
                    assert!(!freed, "a new file could get the inode of an old one");
                    now.insert(at, Thing::File(file));
                }
                Step::Rename { from, to } => {
                    let file = now.remove(&from).unwrap();
                    assert!(matches!(file, Thing::File(_)));
                    now.insert(to, file);
                }
                Step::Remove(path) => {
                    now.remove(&path).unwrap();
                    now.retain(|other, _| !other.starts_with(&format!("{path}/")));
                    freed = true;
                }
                Step::Hardlink { from, to } => {
                    let file = now[&from].clone();
                    now.insert(to, file);
                }
                Step::Symlink { path, target } => drop(now.insert(path, Thing::Symlink(target))),
            }
        }
        now
    }

    fn planned(before: &Names, after: &Names) -> Vec<Step> {
        let mut count = 0;
        plan(before, after, &mut || {
            count += 1;
            format!("tmp-{count}")
        })
    }

    fn names() -> impl Strategy<Value = Names> {
        let thing = prop_oneof![
            Just(Thing::Directory),
            "[xy]".prop_map(Thing::Symlink),
            (0..6_u64).prop_map(Thing::File),
            (0..6_u64).prop_map(Thing::File),
        ];
        prop::collection::vec(("[abc](/[abc]){0,2}", thing), 0..9).prop_map(|entries| {
            let mut names = Names::new();
            for (path, thing) in entries {
                let above: Vec<_> = path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect();
                let free = above
                    .iter()
                    .all(|path| matches!(names.get(path), None | Some(Thing::Directory)));
                if free && !names.contains_key(&path) {
                    names.extend(above.into_iter().map(|path| (path, Thing::Directory)));
                    names.insert(path, thing);
                }
            }
            names
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn the_steps_lead_from_any_names_to_any_others(before in names(), after in names()) {
            let steps = planned(&before, &after);
            prop_assert_eq!(done(&before, &steps), after, "{:?}", steps);
        }
    }

    fn files(names: &[(&str, u64)]) -> Names {
        names
            .iter()
            .map(|(path, file)| ((*path).to_owned(), Thing::File(*file)))
            .collect()
    }

    fn rename(from: &str, to: &str) -> Step {
        Step::Rename {
            from: from.into(),
            to: to.into(),
        }
    }

    #[test]
    fn a_chain_is_renamed_from_its_end_and_a_swap_through_a_temporary_name() {
        let steps = planned(&files(&[("a", 1), ("b", 2)]), &files(&[("b", 1), ("c", 2)]));
        assert_eq!(steps, [rename("b", "c"), rename("a", "b")]);
        let steps = planned(&files(&[("a", 1), ("b", 2)]), &files(&[("b", 1), ("a", 2)]));
        assert_eq!(steps, [rename("a", "tmp-1"), rename("b", "a"), rename("tmp-1", "b")]);
    }

    #[test]
    fn a_new_file_in_the_place_of_another_is_renamed_over_it() {
        let steps = planned(&files(&[("a", 1)]), &files(&[("a", 2)]));
        let create = |file, at: &str| Step::Create { file, at: at.into() };
        assert_eq!(steps, [create(2, "tmp-1"), rename("tmp-1", "a")]);
        let steps = planned(&files(&[("a", 1)]), &files(&[("a.1", 1), ("a", 2)]));
        assert_eq!(steps, [create(2, "tmp-1"), rename("a", "a.1"), rename("tmp-1", "a")]);
    }
}
