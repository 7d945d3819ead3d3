//! The options of `tcptrace doctor`, and what they mean.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = DoctorForm::Text)]
    format: DoctorForm,
}

/// How the answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DoctorForm {
    /// For people
    Text,
    /// One document for scripts
    Json,
}

impl DoctorArguments {
    /// What the options mean.
    pub(crate) fn resolve(&self) -> DoctorForm {
        self.format
    }
}
