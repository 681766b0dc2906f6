//! Answers of the engine that are not what was asked for.

use std::error::Error as _;
use std::path::{Path, PathBuf};

use bollard::errors::Error;

use orch_core::objects::node::TakenPort;

use super::SpecError;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It could not be reached or did not answer: try again later.
    #[error(
        "cannot reach the container engine at {}: {reason}; check that it runs",
        .socket.display()
    )]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// What happened.
        reason: String,
    },
    /// It has no such object. The words are the engine's.
    #[error("{0}")]
    NotFound(String),
    /// The object exists already or is in use. The words are the engine's.
    #[error("{0}")]
    Conflict(String),
    /// It refused. The words are the engine's.
    #[error("{0}")]
    Refused(String),
    /// It answered what this version of orchd does not understand.
    #[error("the container engine gave an unexpected answer: {0}")]
    Answer(String),
    /// A process of the host has a port that the task wants for itself.
    #[error(
        "host port {}/{} is taken by {}; stop it, or publish another port",
        .0.port, .0.protocol, .0.holder
    )]
    PortTaken(TakenPort),
    /// The task asks for what no container can be made of.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

impl EngineError {
    /// Whether the same call may succeed once the engine is back.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "bollard's list of errors grows with its features"
    )]
    pub(super) fn new(socket: &Path, error: Error) -> Self {
        let unreachable = |reason: String| Self::Unreachable {
            socket: socket.to_owned(),
            reason,
        };
        match error {
            Error::DockerResponseServerError {
                status_code: 404,
                message,
            } => Self::NotFound(message),
            Error::DockerResponseServerError {
                status_code: 409,
                message,
            } => Self::Conflict(message),
            Error::DockerResponseServerError { message, .. } => Self::Refused(message),
            Error::DockerStreamError { error } => Self::Refused(error),
            Error::SocketNotFoundError(_) => unreachable("there is no such socket".to_owned()),
            Error::RequestTimeoutError => unreachable("it does not answer in time".to_owned()),
            Error::IOError { err } => unreachable(err.to_string()),
            Error::HyperResponseError { err } => unreachable(err.to_string()),
            Error::HyperLegacyError { err } => unreachable(
                err.source()
                    .map_or_else(|| err.to_string(), ToString::to_string),
            ),
            other => Self::Answer(other.to_string()),
        }
    }
}

/// An object, or `None` when the engine has no such object.
pub(super) fn found<T>(result: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(EngineError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status_code: u16) -> EngineError {
        let message = "its words".to_owned();
        EngineError::new(
            Path::new("/x"),
            Error::DockerResponseServerError {
                status_code,
                message,
            },
        )
    }

    #[test]
    fn refusals_keep_the_engines_words() {
        assert!(matches!(answer(404), EngineError::NotFound(_)));
        assert!(matches!(answer(409), EngineError::Conflict(_)));
        for status in [400, 404, 409, 500] {
            assert_eq!(answer(status).to_string(), "its words");
            assert!(!answer(status).is_unreachable());
        }
    }

    #[tokio::test]
    async fn an_engine_that_is_away_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::engine::Engine::new(&folder.path().join("no.sock"));
        let error = engine.version().await.unwrap_err();
        assert!(error.is_unreachable(), "{error}");
        assert!(error.to_string().contains("no.sock"), "{error}");
    }
}
