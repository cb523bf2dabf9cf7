//! Which sessions are forks, and which rollouts are children, of others.

use super::super::draw::part;
use super::{CHILD_PERCENT, FORK_SHARE, Plan, Planned, What};

impl Plan<'_> {
    /// Makes some sessions forks, and some rollouts children, of others that are not.
    pub(super) fn relate(&mut self) {
        let is_main = |file: &Planned| matches!(&file.what, What::Claude(session, _) if session.agent.is_none());
        let main: Vec<usize> = (0..self.files.len()).filter(|at| is_main(&self.files[*at])).collect();
        for _ in 0..part(main.len(), FORK_SHARE).max(1) {
            let (fork, parent) = (main[self.rng.usize(0..main.len())], main[self.rng.usize(0..main.len())]);
            self.become_child(fork, parent);
        }
        let rollouts = self
            .files
            .iter()
            .enumerate()
            .filter(|(_, file)| matches!(file.what, What::Codex(..)));
        let rollouts: Vec<usize> = rollouts.map(|(at, _)| at).collect();
        for &child in &rollouts {
            if self.rng.u32(0..100) < CHILD_PERCENT {
                // A parent is smaller; a few draws find one for all but the smallest.
                for _ in 0..40 {
                    let parent = rollouts[self.rng.usize(0..rollouts.len())];
                    if self.become_child(child, parent) {
                        break;
                    }
                }
            }
        }
        for file in &mut self.files {
            match &mut file.what {
                What::Claude(session, _) => session.age_s = file.age_s,
                What::Codex(rollout, _) | What::CodexHeader(rollout) | What::Packed(rollout) => {
                    rollout.age_s = file.age_s;
                }
                _ => {}
            }
        }
    }

    fn become_child(&mut self, child: usize, parent: usize) -> bool {
        let fits = self.files[parent].size < self.files[child].size / 10 * 9 && self.parent_of(parent).is_none();
        let is_parent = self.files.iter().any(|file| parent_in(&file.what) == Some(child));
        if !fits || is_parent || child == parent {
            return false;
        }
        match &mut self.files[child].what {
            What::Claude(_, of) | What::Codex(_, of) => *of = Some(parent),
            _ => return false,
        }
        true
    }

    fn parent_of(&self, at: usize) -> Option<usize> {
        parent_in(&self.files[at].what)
    }
}

fn parent_in(what: &What) -> Option<usize> {
    match what {
        What::Claude(_, parent) | What::Codex(_, parent) => *parent,
        _ => None,
    }
}
