//! Between the Engine API's JSON and the cluster's objects.
//!
//! Each file holds the wire shape of one noun and both directions. A spec that comes in is parsed,
//! converted, converted back and compared with what came in ([`lossless`]): what this version
//! cannot honour is refused by name, never dropped. Nothing here reads the store or the network;
//! names of networks are resolved by the caller ([`task_spec::resolve_networks`]).

pub mod cluster;
pub mod container;
pub mod endpoint;
pub mod lossless;
pub mod mount;
pub mod network;
pub mod node;
pub mod scalar;
pub mod service;
pub mod task;
pub mod task_spec;
pub mod words;

/// The JSON of a request cannot become a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// Not JSON, or a value of the wrong type.
    #[error("invalid JSON: {0}")]
    Malformed(String),
    /// A field that would be lost.
    #[error("field {field} is not supported yet")]
    UnsupportedField {
        /// Path of the field from the top of the body.
        field: String,
    },
    /// A field that is known, with a value that would be lost.
    #[error("field {field}: value {value} is not supported yet")]
    UnsupportedValue {
        /// Path of the field from the top of the body.
        field: String,
        /// The value as JSON.
        value: String,
    },
    /// A value that makes no sense.
    #[error("invalid {field}: {reason}")]
    Invalid {
        /// Name of the field.
        field: &'static str,
        /// What is wrong and what is expected.
        reason: String,
    },
}

impl ConvertError {
    /// A value of `field` that makes no sense.
    pub fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            reason: reason.into(),
        }
    }
}
