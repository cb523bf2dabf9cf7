//! The other names of files, where hints are taken: what is told under one name concerns the file under all of them.

use std::collections::BTreeSet;
use std::path::Path;

use super::Tailer;
use super::table::Key;
use super::walk::Walk;
use crate::pure::identity::Identity;

impl Tailer {
    /// A look at the file that is followed on an inode which another path shows: what is written by one name of a file is
    /// told under that name alone.
    pub(super) fn look_at_inode(&mut self, path: &Path, identity: &Identity, walk: &mut Walk) {
        let Some(id) = self.table.by_inode(identity) else {
            return;
        };
        let Some(tracked) = self.table.get(id) else { return };
        let (key, root) = (tracked.key(), tracked.root);
        if *key.0 == *path {
            return;
        }
        if !self.formers.contains(&id) {
            match self.stat_path(&key, root) {
                Ok(stat) if stat.identity.same(identity) => self.saw(root, &key.0, &stat, walk),
                // It moved: that its path shows it no more is told too.
                Ok(_) | Err(_) => {}
            }
        } else if self.handles.holds(id) {
            self.look_at_former(id, self.clock.now());
        } else {
            self.queue_former(id);
        }
    }

    /// The same for everything that this walk found, also where nothing was told of it.
    pub(super) fn look_at_inodes(&mut self, walk: &mut Walk) {
        let found = walk.found.iter();
        let found = found.filter_map(|found| Some((found, found.identity?)));
        let known = found.filter(|(_, inode)| self.table.by_inode(inode).is_some());
        let known: Vec<_> = known.map(|(found, inode)| (found.key.clone(), inode)).collect();
        for (key, inode) in known {
            self.look_at_inode(&key.0, &inode, walk);
        }
    }

    /// A look at the other names of files whose own paths do not show them, of which nothing is told: they go on there.
    pub(super) fn look_at_links(&mut self, missing: &BTreeSet<Key>, walk: &mut Walk) {
        if self.links.is_empty() {
            return;
        }
        let inode = |identity: &Identity| (identity.device, identity.inode);
        let missing = missing.iter().filter_map(|key| self.tracked_at(key));
        let found = walk.found.iter().filter_map(|found| {
            let tracked = self.tracked_at(&found.key)?;
            let shown = found.identity.filter(|shown| !tracked.cursor.file.identity.same(shown));
            shown.and(Some(tracked))
        });
        let gone = missing.chain(found);
        let gone: BTreeSet<_> = gone.map(|tracked| inode(&tracked.cursor.file.identity)).collect();
        let links = self.links.iter();
        let links = links.filter(|(_, (known, _))| gone.contains(&inode(known)));
        let links: Vec<_> = links.map(|(key, _)| key.clone()).collect();
        for key in links {
            let root = (0..self.roots.len()).find(|root| self.is_log(*root, &key.0));
            if let Some(root) = root
                && let Ok(stat) = self.stat_path(&key, root)
            {
                self.saw(root, &key.0, &stat, walk);
            }
        }
    }
}
