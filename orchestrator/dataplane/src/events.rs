//! What the programs tell of single conversations while somebody listens.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use aya::maps::{Map, MapData, RingBuf};
use orch_core::network;
use orch_ebpf_common::{Address, Decision, DropReason, FlowEvent as RawEvent};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::flows::{network_of, socket};
use crate::services::Names;
use crate::{Error, kernel};

/// What became of a conversation's first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowEvent {
    /// When.
    pub time: SystemTime,
    /// The network in which the packet was seen; `None`: the host's own world.
    pub vni: Option<network::Vni>,
    /// IP protocol number; 0 if it was no IP packet.
    pub protocol: u8,
    /// Source of the packet. Ports are as in [`crate::FlowEntry`].
    pub source: SocketAddr,
    /// Destination of the packet.
    pub destination: SocketAddr,
    /// Where it was led, if anywhere.
    pub backend: Option<SocketAddr>,
    /// What became of it.
    pub decision: FlowDecision,
    /// The service that it was for.
    pub service: Option<String>,
    /// Length in bytes, Ethernet header included.
    pub len: u32,
    /// Index of the device that it came in by.
    pub device: u32,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowDecision {
    /// A conversation began.
    Opened,
    /// It was refused, with an answer.
    Refused,
    /// It was dropped.
    Dropped(DropReason),
}

/// The events of one host, for one reader: two would take events from each other.
pub struct FlowEvents {
    ring: AsyncFd<RingBuf<MapData>>,
    names: watch::Receiver<Names>,
    /// When the kernel's monotonic clock was zero.
    boot: SystemTime,
}

impl FlowEvents {
    /// Opens the ring that is pinned in `maps`; what is in it by now is over.
    pub(crate) fn open(maps: &Path, names: watch::Receiver<Names>) -> Result<Self, Error> {
        let mut ring = MapData::from_pin(maps.join("EVENTS"))
            .and_then(|data| RingBuf::try_from(Map::RingBuf(data)))
            .map_err(Error::map("open", "EVENTS"))?;
        while ring.next().is_some() {}
        Ok(Self {
            ring: kernel::readiness(ring).map_err(Error::io("wait for flow events"))?,
            names,
            boot: SystemTime::now() - kernel::monotonic(),
        })
    }

    /// The next event. Safe to cancel.
    ///
    /// # Errors
    ///
    /// When the runtime can wait no more.
    pub async fn next(&mut self) -> io::Result<FlowEvent> {
        loop {
            let mut ready = self.ring.readable_mut().await?;
            let Some(record) = take(ready.get_inner_mut()) else {
                ready.clear_ready();
                continue;
            };
            if let Some(raw) = record {
                return Ok(event(&raw, self.boot, &self.names.borrow()));
            }
        }
    }
}

/// The next record, if there is one, and if it is one of ours.
fn take(ring: &mut RingBuf<MapData>) -> Option<Option<RawEvent>> {
    let bytes = ring.next()?;
    Some(kernel::from_bytes(&bytes))
}

fn event(raw: &RawEvent, boot: SystemTime, names: &Names) -> FlowEvent {
    const REFUSED: u8 = Decision::Refused as u8;
    const DROPPED: u8 = Decision::Dropped as u8;
    let reason = DropReason::ALL.get(usize::from(raw.reason));
    FlowEvent {
        time: boot + Duration::from_nanos(raw.time),
        vni: network_of(raw.key.vni),
        protocol: raw.key.protocol,
        source: socket(raw.key.source, raw.key.source_port),
        destination: socket(raw.key.destination, raw.key.destination_port),
        backend: (raw.backend != Address::UNSPECIFIED)
            .then(|| SocketAddr::new(IpAddr::from(raw.backend), raw.backend_port.get())),
        decision: match raw.decision {
            REFUSED => FlowDecision::Refused,
            DROPPED => FlowDecision::Dropped(*reason.unwrap_or(&DropReason::Malformed)),
            _ => FlowDecision::Opened,
        },
        service: names.get(&raw.service).cloned(),
        len: raw.len,
        device: raw.ifindex,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_events() {
        let raw = RawEvent {
            time: 2_000_000_000,
            decision: Decision::Dropped as u8,
            reason: DropReason::SourceDenied as u8,
            service: 4,
            ..RawEvent::default()
        };
        let names = Names::from([(4, "web".into())]);
        let event = event(&raw, SystemTime::UNIX_EPOCH, &names);
        assert_eq!(
            event.decision,
            FlowDecision::Dropped(DropReason::SourceDenied)
        );
        assert_eq!(event.time, SystemTime::UNIX_EPOCH + Duration::from_secs(2));
        assert_eq!(
            (event.service.as_deref(), event.backend),
            (Some("web"), None)
        );
    }
}
