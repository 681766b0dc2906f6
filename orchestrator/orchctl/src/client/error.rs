//! What can go wrong between the command line and the daemon.

use hyper::StatusCode;

/// A request that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `-H` or `ORCH_HOST` is not an address.
    #[error("invalid daemon address \"{0}\": use unix:///path/to/socket or tcp://host:port")]
    Address(String),
    /// Nobody answers at the address.
    #[error("Cannot connect to orchd at {host}: {source}. Is orchd running?")]
    Connect {
        /// The address as typed.
        host: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The daemon refused.
    #[error("Error response from daemon: {message}")]
    Daemon {
        /// The HTTP status.
        status: StatusCode,
        /// The daemon's own words.
        message: String,
    },
    /// The request could not be made.
    #[error("cannot build the request: {0}")]
    Request(#[source] hyper::http::Error),
    /// The body could not be written as JSON.
    #[error("cannot encode the request: {0}")]
    Encode(#[source] serde_json::Error),
    /// The connection broke.
    #[error("the connection to the daemon failed: {0}")]
    Http(#[source] hyper::Error),
    /// The daemon answered something this client does not understand.
    #[error("the daemon's answer to {what} is not understood: {source}")]
    Decode {
        /// Method and path.
        what: String,
        /// What is wrong with the JSON.
        source: serde_json::Error,
    },
    /// A text answer that is not UTF-8.
    #[error("the daemon's answer to {what} is not UTF-8 text")]
    NotText {
        /// Method and path.
        what: String,
    },
    /// A log stream that breaks its own framing.
    #[error("the log stream is broken: {0}")]
    LogFraming(String),
}

impl Error {
    /// Whether the daemon said that the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Daemon { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}
