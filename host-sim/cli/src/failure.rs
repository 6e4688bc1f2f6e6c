//! How a command ends when it does not succeed.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The findings are already printed.
    Found,
    /// Something that was to be done failed.
    Failed(String),
    /// The call cannot be understood: exit code 2, as for an unknown option.
    Usage(String),
}

impl Failure {
    /// A file that cannot be read or written.
    pub(crate) fn file(path: &Path, error: impl Display) -> Self {
        Self::Usage(format!("{}: {error}", path.display()))
    }

    /// What is still to be said.
    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Self::Found => None,
            Self::Failed(message) | Self::Usage(message) => Some(message),
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Found | Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        })
    }
}
