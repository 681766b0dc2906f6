//! Where the daemon listens.

use std::path::PathBuf;

use super::Error;

/// A daemon's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A socket file.
    Unix(PathBuf),
    /// `host:port`, without TLS.
    Tcp(String),
}

impl Host {
    /// Parses `unix:///path` or `tcp://host:port`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || Error::Address(text.to_owned());
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) => {
                let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
                if host.is_empty() || port.parse::<u16>().is_err() {
                    return Err(invalid());
                }
                Ok(Self::Tcp(address.to_owned()))
            }
            _ => Err(invalid()),
        }
    }

    /// The error for a connect that failed.
    pub(super) fn refused(&self, source: std::io::Error) -> Error {
        let host = match self {
            Self::Unix(path) => format!("unix://{}", path.display()),
            Self::Tcp(address) => format!("tcp://{address}"),
        };
        Error::Connect { host, source }
    }
}
