//! Archives: an experiment's traces, copied into a table of the catalog as they come and change.
//!
//! Whoever manages the experiment and may write to the table sets one up, and it runs in that name: what this person may
//! no longer read or write is no longer copied. In the table, the table's privileges decide.

mod flow;
mod gather;
mod managed;
mod mark;
mod read;
mod row;
mod select;
mod set_up;
mod worker;
mod write;

pub(super) use managed::answer;
pub(super) use mark::{mark, unmark};
pub(super) use set_up::{Wanted, end, set};
pub(super) use worker::Worker;

use crate::access::{Check, ExperimentId, Privilege, Securable};

/// What an archive takes of whoever set it up, as long as it runs.
fn demands(experiment: &ExperimentId, table: &Securable) -> Vec<Check> {
    let experiment = Securable::experiment(experiment);
    vec![
        Check::new(Privilege::ExperimentManage, experiment.clone()),
        Check::new(Privilege::TraceRead, experiment),
        Check::new(Privilege::Modify, table.clone()),
    ]
}
