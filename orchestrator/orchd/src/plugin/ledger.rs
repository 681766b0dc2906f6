//! What the driver must remember across restarts of the daemon.
//!
//! The engine names a network or an endpoint by its own id and says what it is only once, so that
//! is written down before the engine is answered. One task owns the records; a change is on disk
//! when [`Ledger::change`] returns.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use orch_core::ids::NetworkId;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::durable;

/// Changes that wait at most.
const QUEUE: usize = 64;

/// The records could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be used.
    #[error("cannot use {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The daemon stops.
    #[error("orchd is stopping")]
    Closed,
}

/// The records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// The engine's networks of this driver, and the cluster network each stands for.
    pub networks: BTreeMap<String, NetworkId>,
    /// The engine's endpoints on them.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// Addresses that the managers lent to containers that are no tasks, by the name that the
    /// managers know each loan by.
    pub leases: BTreeMap<String, Lease>,
}

/// An endpoint of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its cluster network.
    pub network: NetworkId,
    /// Its IPv4 address with prefix length.
    pub address: IpNet,
    /// Its IPv6 address with prefix length.
    #[serde(default)]
    pub address_v6: Option<IpNet>,
    /// Its link-layer address.
    pub mac: [u8; 6],
}

/// An address lent by the managers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its cluster network.
    pub network: NetworkId,
    /// How far it is.
    pub state: LeaseState,
}

/// How far a loan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseState {
    /// The managers are being asked, and may have said yes already.
    Asked,
    /// A container has this address.
    Held(IpAddr),
    /// No container has it any more; the managers are yet to be told.
    Released,
}

impl Records {
    /// The loan of an address that a container has.
    pub fn held(&mut self, network: &NetworkId, address: IpAddr) -> Option<&mut Lease> {
        let held = LeaseState::Held(address);
        self.leases
            .values_mut()
            .find(|lease| lease.network == *network && lease.state == held)
    }

    /// Whether an endpoint has this address.
    pub fn is_used(&self, network: &NetworkId, address: IpAddr) -> bool {
        self.endpoints.values().any(|endpoint| {
            let mut addresses = std::iter::once(endpoint.address).chain(endpoint.address_v6);
            endpoint.network == *network && addresses.any(|known| known.addr() == address)
        })
    }
}

enum Command {
    Read(Box<dyn FnOnce(&Records) + Send>),
    Change(
        Box<dyn FnOnce(&mut Records) + Send>,
        oneshot::Sender<Result<(), LedgerError>>,
    ),
}

/// Handle to the records. Their owner ends when the last handle is dropped.
#[derive(Clone)]
pub struct Ledger {
    commands: mpsc::Sender<Command>,
}

impl Ledger {
    /// Reads the records kept at `path`, none when there is no such file, and starts their owner.
    /// Loans that were being asked for when the last daemon ended count as released.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let file_error = |source| LedgerError::File {
            path: path.to_owned(),
            source,
        };
        let mut records: Records = match std::fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| file_error(error.into()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Records::default(),
            Err(error) => return Err(file_error(error)),
        };
        for lease in records.leases.values_mut() {
            if lease.state == LeaseState::Asked {
                lease.state = LeaseState::Released;
            }
        }
        let (commands, requests) = mpsc::channel(QUEUE);
        tokio::spawn(own(records, path.to_owned(), requests));
        Ok(Self { commands })
    }

    /// Looks something up.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Records) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |records: &Records| drop(reply.send(look(records))));
        self.commands
            .send(Command::Read(look))
            .await
            .map_err(|_| LedgerError::Closed)?;
        answer.await.map_err(|_| LedgerError::Closed)
    }

    /// Changes the records; they are on disk when this returns, or as before on an error.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Records) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let (saved, on_disk) = oneshot::channel();
        let change = Box::new(move |records: &mut Records| drop(reply.send(change(records))));
        let command = Command::Change(change, saved);
        self.commands
            .send(command)
            .await
            .map_err(|_| LedgerError::Closed)?;
        on_disk.await.map_err(|_| LedgerError::Closed)??;
        answer.await.map_err(|_| LedgerError::Closed)
    }
}

async fn own(mut records: Records, path: PathBuf, mut requests: mpsc::Receiver<Command>) {
    while let Some(command) = requests.recv().await {
        match command {
            Command::Read(look) => look(&records),
            Command::Change(change, saved) => {
                let before = records.clone();
                change(&mut records);
                let result = if records == before {
                    Ok(())
                } else {
                    save(&path, &records).await
                };
                if result.is_err() {
                    records = before;
                }
                // An asker that is gone needs no answer.
                drop(saved.send(result));
            }
        }
    }
}

async fn save(path: &Path, records: &Records) -> Result<(), LedgerError> {
    let file_error = |source| LedgerError::File {
        path: path.to_owned(),
        source,
    };
    let bytes = serde_json::to_vec(records).map_err(|error| file_error(error.into()))?;
    let target = path.to_owned();
    let written = tokio::task::spawn_blocking(move || durable::write(&target, &bytes)).await;
    written
        .map_err(|error| file_error(io::Error::other(error)))?
        .map_err(file_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(state: LeaseState) -> Lease {
        Lease {
            network: NetworkId::from_random(1),
            state,
        }
    }

    #[tokio::test]
    async fn records_survive_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let address: IpAddr = "10.0.0.5".parse().unwrap();
        let ledger = Ledger::open(&path).unwrap();
        ledger
            .change(move |records| {
                records
                    .networks
                    .insert("e1".to_owned(), NetworkId::from_random(1));
                records
                    .leases
                    .insert("held".to_owned(), lease(LeaseState::Held(address)));
                records
                    .leases
                    .insert("asked".to_owned(), lease(LeaseState::Asked));
            })
            .await
            .unwrap();
        drop(ledger);
        let found = Ledger::open(&path)
            .unwrap()
            .read(Records::clone)
            .await
            .unwrap();
        assert_eq!(found.networks["e1"], NetworkId::from_random(1));
        assert_eq!(found.leases["held"].state, LeaseState::Held(address));
        assert_eq!(found.leases["asked"].state, LeaseState::Released);
    }

    #[tokio::test]
    async fn a_change_that_cannot_be_kept_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("gone").join("ledger")).unwrap();
        let change = |records: &mut Records| {
            records
                .leases
                .insert("x".to_owned(), lease(LeaseState::Asked));
        };
        assert!(matches!(
            ledger.change(change).await,
            Err(LedgerError::File { .. })
        ));
        assert_eq!(
            ledger.read(Records::clone).await.unwrap(),
            Records::default()
        );
    }

    #[tokio::test]
    async fn a_damaged_file_is_an_error_and_not_forgotten_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        std::fs::write(&path, b"{").unwrap();
        assert!(matches!(Ledger::open(&path), Err(LedgerError::File { .. })));
    }

    #[test]
    fn loans_and_endpoints_are_found_by_address() {
        let address: IpAddr = "10.0.0.5".parse().unwrap();
        let mut records = Records::default();
        records
            .leases
            .insert("x".to_owned(), lease(LeaseState::Held(address)));
        let network = NetworkId::from_random(1);
        assert!(records.held(&network, address).is_some());
        assert!(records.held(&NetworkId::from_random(2), address).is_none());
        let endpoint = Endpoint {
            network: network.clone(),
            address: "10.0.0.5/24".parse().unwrap(),
            address_v6: "fd00::5/64".parse().ok(),
            mac: [0; 6],
        };
        records.endpoints.insert("ep".to_owned(), endpoint);
        assert!(records.is_used(&network, address));
        assert!(records.is_used(&network, "fd00::5".parse().unwrap()));
        assert!(!records.is_used(&NetworkId::from_random(2), address));
    }
}
