//! The host's own container engine, as the agent needs it.
//!
//! A thin layer over the Engine API: it speaks this crate's terms and turns the engine's answers
//! into errors that a caller can act on. It decides nothing; what is done when is the agent's.

mod container;
mod error;
mod events;
mod image;
mod info;
mod inspect;
mod network;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};

use container::labels;
pub use container::{NewContainer, Resolver, SpecError, new_container};
pub use error::EngineError;
pub use inspect::UsedEndpoint;
pub use network::{DRIVER, EngineNetwork, NETWORK_ID_OPTION};

/// Time in which the engine must answer a call that has no reason to take long.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Time in which the engine must start a container: its drivers may make it wait 30 s each.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// Time in which the engine must begin to answer a pull: registries may be slow.
const PULL_TIMEOUT: Duration = Duration::from_secs(300);

/// The engine behind one unix socket. Cheap to clone; each call connects anew, so that an engine
/// that was restarted needs no care.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

impl Engine {
    /// The engine that listens on `socket`. Nothing is connected yet.
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// The engine's version and that of its API.
    pub async fn version(&self) -> Result<(String, String), EngineError> {
        let version = self
            .docker(CALL_TIMEOUT)?
            .version()
            .await
            .map_err(self.error())?;
        let known = |text: Option<String>| text.unwrap_or_default();
        Ok((known(version.version), known(version.api_version)))
    }

    /// The error of an engine that is away.
    pub fn unreachable(&self, reason: &str) -> EngineError {
        EngineError::Unreachable {
            socket: self.socket.clone(),
            reason: reason.to_owned(),
        }
    }

    fn docker(&self, timeout: Duration) -> Result<Docker, EngineError> {
        let path = self.socket.to_string_lossy();
        Docker::connect_with_unix(&path, timeout.as_secs(), API_DEFAULT_VERSION)
            .map_err(self.error())
    }

    fn error(&self) -> impl Fn(bollard::errors::Error) -> EngineError + '_ {
        |error| EngineError::new(&self.socket, error)
    }
}
