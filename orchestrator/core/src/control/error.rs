//! Why an operation was refused, in Docker's words where Docker has them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Why an operation was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ControlError {
    /// The request makes no sense, whatever the state.
    #[error("{0}")]
    InvalidArgument(String),
    /// There is no such object.
    #[error("{kind} {name} not found")]
    NotFound {
        /// `service`, `node`, ...
        kind: Cow<'static, str>,
        /// What was asked for.
        name: String,
    },
    /// An id prefix fits several objects.
    #[error("{kind} {name} is ambiguous ({matches} matches found)")]
    Ambiguous {
        /// `service`, `node`, ...
        kind: Cow<'static, str>,
        /// What was asked for.
        name: String,
        /// How many objects it fits.
        matches: usize,
    },
    /// The name is taken.
    #[error("name conflicts with an existing object: {kind} {name} already exists")]
    AlreadyExists {
        /// `service`, `network`, ...
        kind: Cow<'static, str>,
        /// The name.
        name: String,
    },
    /// The object was changed since the caller read it.
    #[error("update out of sequence")]
    OutOfSequence,
    /// The state does not allow it now.
    #[error("{0}")]
    FailedPrecondition(String),
    /// The caller may not do that.
    #[error("{0}")]
    PermissionDenied(String),
    /// Addresses, ports or identifiers have run out.
    #[error("{0}")]
    ResourceExhausted(String),
    /// This version cannot do it.
    #[error("{0}")]
    Unimplemented(String),
}

impl ControlError {
    /// An [`InvalidArgument`](Self::InvalidArgument) of these words.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidArgument(message.into())
    }

    /// A [`NotFound`](Self::NotFound).
    pub(crate) fn not_found(kind: &'static str, name: impl ToString) -> Self {
        Self::NotFound {
            kind: kind.into(),
            name: name.to_string(),
        }
    }
}
