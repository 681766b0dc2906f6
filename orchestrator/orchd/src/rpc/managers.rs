//! A manager's side towards the other managers: takes raft's messages, lets managers into the
//! group, and runs what users asked others for.

use std::net::SocketAddr;

use orch_core::consensus;
use orch_core::control::{self, Command};
use orch_proto::{
    CarryResponse, ControlRequest, ControlResponse, EnrollRequest, EnrollResponse, RaftPiece,
    managers_server,
};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::access::Peer;
use super::carrier::{FROM_ADDRESS, FROM_ID, Inbound, Inbox};
use super::{control::run_here, wire};
use crate::manager::{ManagerHandle, WriteError};
use crate::pki::Identity;

/// Bytes that a message of raft may have, a snapshot of the state included.
const MAX_RAFT_MESSAGE: usize = 1 << 30;

/// Serves the other managers.
pub(super) struct Managers {
    manager: ManagerHandle,
    inbox: Inbox,
    stop: CancellationToken,
}

impl Managers {
    /// Raft's messages go to `inbox`; streams of them end with `stop`.
    pub(super) fn new(manager: ManagerHandle, inbox: Inbox, stop: CancellationToken) -> Self {
        Self {
            manager,
            inbox,
            stop,
        }
    }

    /// Hands over the messages of a stream until it ends.
    async fn take(
        &self,
        (from, address): (u64, SocketAddr),
        mut pieces: Streaming<RaftPiece>,
    ) -> Result<(), Status> {
        let mut whole = Vec::new();
        while let Some(piece) = pieces.message().await? {
            if whole.len() + piece.data.len() > MAX_RAFT_MESSAGE {
                return Err(Status::resource_exhausted("the message is too large"));
            }
            whole.extend(piece.data);
            if !piece.last {
                continue;
            }
            let message = consensus::decode(&std::mem::take(&mut whole))
                .map_err(|e| Status::invalid_argument(e.to_string()))?;
            if message.from != from {
                return Err(Status::permission_denied(
                    "the message is of another member",
                ));
            }
            let inbound = Inbound {
                from,
                address,
                message,
            };
            if self.inbox.send(inbound).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Whose messages a stream carries. A manager speaks for itself only, as far as its id is
    /// known here.
    fn sender(&self, who: &Identity, said: &MetadataMap) -> Result<(u64, SocketAddr), Status> {
        let id = parse::<u64>(said, FROM_ID)?;
        let address = parse::<SocketAddr>(said, FROM_ADDRESS)?;
        let state = self.manager.state();
        let holder = state
            .nodes()
            .find(|node| node.manager.as_ref().is_some_and(|m| m.raft_id == id));
        if holder.is_some_and(|node| node.id != who.node) {
            return Err(Status::permission_denied(format!(
                "node {} is not the member {id} of the raft group",
                who.node
            )));
        }
        Ok((id, address))
    }
}

fn parse<T: std::str::FromStr>(said: &MetadataMap, key: &str) -> Result<T, Status> {
    let text = said.get(key).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Status::invalid_argument(format!("{key} is missing or makes no sense")))
}

#[tonic::async_trait]
impl managers_server::Managers for Managers {
    async fn carry(
        &self,
        request: Request<Streaming<RaftPiece>>,
    ) -> Result<Response<CarryResponse>, Status> {
        let peer = Peer::of(&request)?;
        let sender = self.sender(&peer, request.metadata())?;
        let taking = self.take(sender, request.into_inner());
        match self.stop.run_until_cancelled(taking).await {
            Some(taken) => taken.map(|()| Response::new(CarryResponse {})),
            None => Err(Status::unavailable("the manager is stopping")),
        }
    }

    async fn enroll(
        &self,
        request: Request<EnrollRequest>,
    ) -> Result<Response<EnrollResponse>, Status> {
        let node = Peer::of(&request)?.node;
        let address = request.into_inner().address;
        let address: SocketAddr = address
            .parse()
            .map_err(|_| Status::invalid_argument(format!("\"{address}\" is not ADDRESS:PORT")))?;
        let raft_id = rand::random_range(1..=u64::MAX);
        let of = node.clone();
        self.manager
            .write(move |tx| control::enroll(tx, &of, raft_id, address))
            .await
            .map_err(wire::write_refused)?;
        tracing::info!(%node, raft_id, %address, "a manager enrolled");
        let version = self.manager.state().version();
        Ok(Response::new(EnrollResponse { raft_id, version }))
    }

    async fn control(
        &self,
        request: Request<ControlRequest>,
    ) -> Result<Response<ControlResponse>, Status> {
        let command: Command = wire::decode_request("command", &request.into_inner().command)?;
        let outcome = match run_here(&self.manager, command).await {
            Ok(made) => Ok(made),
            Err(WriteError::Control(refused)) => Err(refused),
            Err(error) => return Err(wire::write_refused(error)),
        };
        Ok(Response::new(ControlResponse {
            outcome: wire::encode(&outcome)?,
        }))
    }
}
