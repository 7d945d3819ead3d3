//! What a form for people shows as a whole: a table, a plan, a look. The other forms get its records one by one.
//! Values only.

use crate::model::record::{
    Record, Snapshot, Summary,
    cleared::{ClearEnd, ClearPlan},
    time_wait::TimeWaitLook,
};

/// Something to be shown as a whole.
#[derive(Debug)]
pub(crate) enum View {
    /// What `now` found: all that it says, the summary too.
    Snapshot(Snapshot),
    /// What `clear` would end, and, when it ends nothing, the end of the session.
    ClearPlan {
        /// What would be ended.
        plan: ClearPlan,
        /// The end; `None` when the plan is shown to ask a question.
        end: Option<ClearEnd>,
    },
    TimeWaitLook {
        /// What was found.
        look: TimeWaitLook,
        /// The end of the session, when this look is all that it says.
        summary: Option<Summary>,
        /// How it takes the place of what the terminal shows; `None` when it stands below that.
        page: Option<Page>,
    },
}

/// How a view takes the place of the one before on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// As much as fits the window: another one follows.
    Fitting,
    /// All of it: it is the last.
    Whole,
}

/// How much of a view is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Rows of all tables together, and groups.
    pub rows: usize,
    /// Characters of a line; `None` when that does not matter.
    pub width: Option<usize>,
    /// Lines of the terminal; `None` when there is none.
    pub height: Option<usize>,
}

impl View {
    /// Whether it takes the place of what the terminal shows: it breaks its lines by itself.
    pub(crate) fn is_page(&self) -> bool {
        matches!(self, Self::TimeWaitLook { page: Some(_), .. })
    }

    /// Gives the view away record by record; returns the summary of the session, if the view has it: it belongs at
    /// the end.
    pub(crate) fn into_records(self, mut push: impl FnMut(&Record)) -> Option<Summary> {
        match self {
            Self::Snapshot(Snapshot { groups, over, others: _, scope: _, summary }) => {
                for leak in groups.into_iter().flat_map(|group| group.leaks).chain(over) {
                    push(&Record::Leak(Box::new(leak)));
                }
                Some(summary)
            }
            Self::ClearPlan { plan, end } => {
                for planned in plan.planned {
                    push(&Record::Cleared(Box::new(planned)));
                }
                if let Some(end) = end {
                    push(&Record::ClearEnd(Box::new(end)));
                }
                None
            }
            Self::TimeWaitLook { look, summary, page: _ } => {
                for (namespace, destinations) in look.namespaces {
                    for destination in destinations {
                        push(&Record::TimeWait(Box::new(destination)));
                    }
                    push(&Record::TimeWaitSummary(Box::new(namespace)));
                }
                summary
            }
        }
    }
}
