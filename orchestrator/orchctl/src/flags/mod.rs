//! Flag values, parsed at the edge into types that cannot be wrong. Each `FromStr` says what is
//! wrong with the value; clap adds which flag it was given to. Nothing here talks to the daemon.

mod attach;
mod duration;
mod fields;
mod key_value;
mod limits;
mod mount;
mod port;

pub use attach::{CredentialSpec, FileReference, NetworkAttachment, SpreadPreference};
pub use duration::GoDuration;
pub use key_value::{Assignment, EnvEntry, HostMapping, LabelEntry, parse_env_file};
pub use limits::{Bytes, GenericResource, NanoCpus, Ulimit};
pub use mount::Mount;
pub use port::{PortSpec, PublishMode, PublishedPort};

/// Why a flag's value was refused, in words for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FlagError(String);

impl FlagError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}
