//! Carries raft's messages between managers: one lasting stream to each of the others, and one of
//! its own for every snapshot, which is large and must not hold up what is behind it.
//!
//! Messages may get lost: raft sends again what matters.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use orch_core::consensus::{self, Input, Message, MessageType};
use orch_proto::RaftPiece;
use orch_proto::managers_client::ManagersClient;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::connection::{self, Patience};
use super::{RpcError, wire};
use crate::pki::credentials::Credentials;
use crate::pki::tls;
use crate::raft::Transport;

/// Metadata of a stream: the raft id of who speaks ...
pub(super) const FROM_ID: &str = "raft-id";
/// ... and where it is to be answered.
pub(super) const FROM_ADDRESS: &str = "raft-address";

/// Messages that may wait for a manager; more are lost.
const QUEUE: usize = 512;
/// Bytes of a message that travel in one piece.
const PIECE: usize = 1 << 20;
/// Time that a snapshot may take.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(300);
/// Pause before a manager that cannot be reached is tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// A manager that is silent for so long is to be connected anew.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(1),
    keep_alive: Duration::from_secs(1),
    answer: Duration::from_secs(1),
};

/// A message that came, and whose it is.
#[derive(Debug)]
pub struct Inbound {
    pub(super) from: u64,
    pub(super) address: SocketAddr,
    pub(super) message: Message,
}

/// Where messages of other managers go in: the server's end.
pub type Inbox = mpsc::Sender<Inbound>;

/// What a manager tells the others of itself.
#[derive(Clone)]
pub struct Myself {
    /// Its raft id.
    pub id: u64,
    /// Where it serves node-to-node calls.
    pub address: SocketAddr,
    /// What it proves itself with.
    pub credentials: watch::Receiver<Arc<Credentials>>,
}

/// Carries messages to and from the other managers.
pub struct Carrier {
    myself: Myself,
    /// Where managers are, as the state says.
    told: watch::Receiver<BTreeMap<u64, SocketAddr>>,
    /// Where managers said they are when they spoke: the state may not know yet.
    heard: BTreeMap<u64, SocketAddr>,
    lines: BTreeMap<u64, Line>,
    inbound: mpsc::Receiver<Inbound>,
    events: (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    stop: CancellationToken,
}

/// The lasting stream to one manager.
struct Line {
    address: SocketAddr,
    queue: mpsc::Sender<Message>,
}

impl Carrier {
    /// A carrier whose tasks end with `stop`, and where messages for it go in.
    pub fn new(
        myself: Myself,
        told: watch::Receiver<BTreeMap<u64, SocketAddr>>,
        stop: CancellationToken,
    ) -> (Self, Inbox) {
        let (inbox, inbound) = mpsc::channel(QUEUE);
        let carrier = Self {
            myself,
            told,
            heard: BTreeMap::new(),
            lines: BTreeMap::new(),
            inbound,
            events: mpsc::channel(QUEUE),
            stop,
        };
        (carrier, inbox)
    }

    fn address_of(&self, id: u64) -> Option<SocketAddr> {
        let heard = self.heard.get(&id).copied();
        heard.or_else(|| self.told.borrow().get(&id).copied())
    }

    /// The stream to a manager, a new one when it has moved.
    fn line(&mut self, id: u64, address: SocketAddr) -> &Line {
        if self.lines.get(&id).is_some_and(|l| l.address != address) {
            self.lines.remove(&id);
        }
        let (myself, events, stop) = (&self.myself, &self.events.0, &self.stop);
        self.lines.entry(id).or_insert_with(|| {
            let (queue, messages) = mpsc::channel(QUEUE);
            let speaker = Speaker {
                myself: myself.clone(),
                to: id,
                address,
            };
            let (events, stop) = (events.clone(), stop.clone());
            tokio::spawn(async move {
                stop.run_until_cancelled(speaker.run(messages, events))
                    .await
            });
            Line { address, queue }
        })
    }

    fn send_snapshot(&self, message: Message, address: SocketAddr) {
        let speaker = Speaker {
            myself: self.myself.clone(),
            to: message.to,
            address,
        };
        let (events, stop) = (self.events.0.clone(), self.stop.clone());
        tokio::spawn(async move {
            let to = message.to;
            let sent = tokio::time::timeout(SNAPSHOT_LIMIT, speaker.deliver(message));
            let Some(sent) = stop.run_until_cancelled(sent).await else {
                return;
            };
            let arrived = matches!(sent, Ok(Ok(())));
            match sent {
                Ok(Ok(())) => tracing::info!(to, %address, "sent a snapshot to a manager"),
                Ok(Err(error)) => tracing::warn!(to, %address, %error, "a snapshot got lost"),
                Err(_) => tracing::warn!(to, %address, "a snapshot took too long"),
            }
            tell(&events, Input::SnapshotSent { to, arrived }).await;
        });
    }
}

async fn tell(events: &mpsc::Sender<Input>, event: Input) {
    if events.send(event).await.is_err() {
        tracing::debug!("news of a message after the manager stopped");
    }
}

impl Transport for Carrier {
    fn send(&mut self, message: Message) {
        let to = message.to;
        let Some(address) = self.address_of(to) else {
            tracing::debug!(to, "it is not known where this manager is");
            return;
        };
        if message.get_msg_type() == MessageType::MsgSnapshot {
            self.send_snapshot(message, address);
        } else if self.line(to, address).queue.try_send(message).is_err() {
            tracing::debug!(to, "too many messages wait for this manager");
        }
    }

    async fn receive(&mut self) -> Input {
        tokio::select! {
            Some(Inbound { from, address, message }) = self.inbound.recv() => {
                self.heard.insert(from, address);
                Input::Receive(Box::new(message))
            }
            Some(event) = self.events.1.recv() => event,
            else => std::future::pending().await,
        }
    }
}

/// Speaks to one manager.
struct Speaker {
    myself: Myself,
    to: u64,
    address: SocketAddr,
}

impl Speaker {
    /// Sends what is in the queue until its other end is dropped; connects as often as it takes.
    async fn run(self, mut messages: mpsc::Receiver<Message>, events: mpsc::Sender<Input>) {
        let mut reachable = true;
        while !messages.is_closed() {
            let error = match self.speak(&mut messages, &mut reachable).await {
                Ok(()) => "it ended the stream".to_owned(),
                Err(error) => error.to_string(),
            };
            if reachable {
                let (to, address) = (self.to, self.address);
                tracing::warn!(to, %address, error, "cannot speak to a manager; trying again");
            }
            reachable = false;
            tell(&events, Input::Unreachable(self.to)).await;
            tokio::time::sleep(PAUSE).await;
            // What raft said so long ago it says again.
            while messages.try_recv().is_ok() {}
        }
    }

    /// One stream, from the connection to its end.
    async fn speak(
        &self,
        messages: &mut mpsc::Receiver<Message>,
        reachable: &mut bool,
    ) -> Result<(), RpcError> {
        let mut client = self.connect().await?;
        let (out, pieces) = mpsc::channel(QUEUE);
        let call = client.carry(self.request(pieces)?);
        tokio::pin!(call);
        loop {
            tokio::select! {
                ended = &mut call => return Ok(ended.map(drop)?),
                message = messages.recv() => {
                    let Some(message) = message else { return Ok(()) };
                    for piece in split(&message)? {
                        tokio::select! {
                            ended = &mut call => return Ok(ended.map(drop)?),
                            sent = out.send(piece) => if sent.is_err() { return Ok(()) },
                        }
                    }
                    if !std::mem::replace(reachable, true) {
                        let (to, address) = (self.to, self.address);
                        tracing::info!(to, %address, "speaking to the manager again");
                    }
                }
            }
        }
    }

    /// Sends one message on a stream of its own, and waits until it was taken.
    async fn deliver(&self, message: Message) -> Result<(), RpcError> {
        let mut client = self.connect().await?;
        let (out, pieces) = mpsc::channel(1);
        let sending = async {
            for piece in split(&message)? {
                if out.send(piece).await.is_err() {
                    break;
                }
            }
            drop(out);
            Ok(())
        };
        let call = client.carry(self.request(pieces)?);
        let (sent, taken) = tokio::join!(sending, call);
        taken?;
        sent
    }

    async fn connect(&self) -> Result<ManagersClient<tonic::transport::Channel>, RpcError> {
        let credentials = Arc::clone(&self.myself.credentials.borrow());
        let tls = tls::client(&credentials)?;
        let manager = self.address.to_string();
        let (channel, _) = connection::connect_within(&manager, tls, PATIENCE).await?;
        Ok(ManagersClient::new(channel).max_encoding_message_size(wire::MAX_MESSAGE))
    }

    fn request(
        &self,
        pieces: mpsc::Receiver<RaftPiece>,
    ) -> Result<Request<ReceiverStream<RaftPiece>>, RpcError> {
        let bad = |_| RpcError::BadAnswer("metadata cannot be written".to_owned());
        let mut request = Request::new(ReceiverStream::new(pieces));
        let said = request.metadata_mut();
        said.insert(FROM_ID, self.myself.id.to_string().parse().map_err(bad)?);
        said.insert(
            FROM_ADDRESS,
            self.myself.address.to_string().parse().map_err(bad)?,
        );
        Ok(request)
    }
}

/// A message in pieces.
fn split(message: &Message) -> Result<Vec<RaftPiece>, RpcError> {
    let bytes = consensus::encode(message).map_err(|e| RpcError::BadAnswer(e.to_string()))?;
    let count = bytes.chunks(PIECE).len();
    let pieces = bytes
        .chunks(PIECE)
        .enumerate()
        .map(|(number, data)| RaftPiece {
            data: data.to_vec(),
            last: number + 1 == count,
        });
    Ok(pieces.collect())
}
