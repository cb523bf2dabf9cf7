//! Runs a scenario under every schedule that has at most so many preemptions.
//!
//! The actors are real threads. A schedule is the list of choices of who moves at each call of the disk; all calls after
//! a planned beginning go without a switch, and each place where another choice was possible is the beginning of a
//! further schedule. So each schedule within the bounds is run once, those with the fewest preemptions first.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use tailspool::disk::SimDisk;

use super::turns::{Bounds, Step, Turned, Turns};

/// What one process does.
pub(crate) type Actor = Box<dyn FnOnce(&Turned) + Send>;

/// What must hold at the end, where so many were killed.
pub(crate) type Judge = Box<dyn FnOnce(&SimDisk, usize)>;

/// Who acts on which disk, and what must hold at the end.
pub(crate) struct Play {
    pub(crate) disk: SimDisk,
    pub(crate) actors: Vec<Actor>,
    pub(crate) judge: Judge,
}

/// Schedules at a time. Whoever meets a lock sleeps for a moment, and the others go on meanwhile.
const WORKERS: usize = 6;

/// How often a schedule is tried whose calls differ from those of the run it was made from, as when a lock was waited
/// for until the time was over because this machine had something else to do.
const TRIES: usize = 5;

#[derive(Default)]
struct Todo {
    /// Beginnings, by their preemptions and deaths.
    plans: BTreeMap<usize, Vec<Plan>>,
    running: usize,
    schedules: usize,
    failure: Option<String>,
}

/// The first choices of a schedule.
type Plan = Vec<usize>;

/// Runs them all; returns how many there were.
#[track_caller]
pub(crate) fn explore(bounds: Bounds, scenario: &(dyn Fn() -> Play + Sync)) -> usize {
    let todo = Mutex::new(Todo::default());
    todo.lock().unwrap().plans.insert(0, vec![Plan::default()]);
    let changed = Condvar::new();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| work(bounds, scenario, &todo, &changed));
        }
    });
    let todo = todo.into_inner().unwrap();
    if let Some(failure) = todo.failure {
        panic!("after {} schedules that hold: {failure}", todo.schedules);
    }
    todo.schedules
}

fn work(bounds: Bounds, scenario: &dyn Fn() -> Play, todo: &Mutex<Todo>, changed: &Condvar) {
    let mut state = todo.lock().unwrap();
    loop {
        let plan = loop {
            if state.failure.is_some() {
                return;
            }
            if let Some(mut plans) = state.plans.first_entry() {
                let plan = plans.get_mut().pop();
                if plans.get().is_empty() {
                    plans.remove();
                }
                if let Some(plan) = plan {
                    break plan;
                }
            } else if state.running == 0 {
                changed.notify_all();
                return;
            }
            state = changed.wait(state).unwrap();
        };
        state.running += 1;
        drop(state);
        let ran = run(bounds, scenario, &plan);
        state = todo.lock().unwrap();
        state.running -= 1;
        match ran {
            Ok(steps) => {
                state.schedules += 1;
                for (cost, plan) in further(&steps, plan.len()) {
                    state.plans.entry(cost).or_default().push(plan);
                }
            }
            Err(failure) => state.failure = Some(failure),
        }
        changed.notify_all();
    }
}

/// The schedules that begin as this one and differ at one choice behind the first `planned`.
fn further(steps: &[Step], planned: usize) -> Vec<(usize, Plan)> {
    let chosen: Vec<usize> = steps.iter().map(|step| step.chosen).collect();
    let mut plans = Vec::new();
    let mut cost = 0;
    for (at, step) in steps.iter().enumerate() {
        let price = |index: usize| usize::from(step.choices[index].preempts) + usize::from(step.choices[index].dies);
        if at >= planned {
            for other in step.chosen + 1..step.choices.len() {
                plans.push((cost + price(other), [&chosen[..at], &[other]].concat()));
            }
        }
        cost += price(step.chosen);
    }
    plans
}

fn run(bounds: Bounds, scenario: &dyn Fn() -> Play, plan: &Plan) -> Result<Vec<Step>, String> {
    for _ in 0..TRIES {
        let (steps, outcome) = once(bounds, scenario, plan);
        let followed =
            steps.len() >= plan.len() && plan.iter().zip(&steps).all(|(planned, step)| *planned == step.chosen);
        if !followed {
            continue;
        }
        return match outcome {
            Ok(()) => Ok(steps),
            Err(panic) => Err(told(&steps, &*panic)),
        };
    }
    Err(format!("a schedule cannot be repeated: {plan:?}"))
}

fn once(bounds: Bounds, scenario: &dyn Fn() -> Play, plan: &Plan) -> (Vec<Step>, thread::Result<()>) {
    let Play { disk, actors, judge } = scenario();
    let turns = Turns::new(actors.len(), bounds, plan.clone());
    let acted = thread::scope(|scope| {
        let threads: Vec<_> = actors
            .into_iter()
            .enumerate()
            .map(|(number, actor)| {
                let (disk, turns) = (Turned::new(&disk, &turns, number), Arc::clone(&turns));
                scope.spawn(move || {
                    let acted = catch_unwind(AssertUnwindSafe(|| actor(&disk)));
                    turns.end(number);
                    acted
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().and_then(|acted| acted))
            .collect::<Vec<_>>()
    });
    let (steps, dead) = turns.finish();
    let died = dead.iter().filter(|dead| **dead).count();
    let acted = acted.into_iter().collect::<thread::Result<()>>();
    (
        steps,
        acted.and_then(|()| catch_unwind(AssertUnwindSafe(|| judge(&disk, died)))),
    )
}

/// What failed, and the schedule, one line a call.
fn told(steps: &[Step], panic: &(dyn Any + Send)) -> String {
    let what = panic.downcast_ref::<String>().map(String::as_str);
    let what = what.or_else(|| panic.downcast_ref().copied()).unwrap_or("a panic");
    let mut text = format!("{what}\nunder this schedule:\n");
    for step in steps {
        let choice = step.choices[step.chosen];
        let marks = [(choice.preempts, " (preempts)"), (choice.dies, " (is killed)")];
        let marks: String = marks
            .iter()
            .filter(|(holds, _)| *holds)
            .map(|(_, mark)| *mark)
            .collect();
        let _ = writeln!(text, "  {}: {}{marks}", ["A", "B", "C", "D"][choice.actor], step.call);
    }
    text
}
