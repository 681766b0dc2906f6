//! Asks every other host through the tunnel whether packets of both ends of the range of sizes
//! come through, and back again.
//!
//! A question is a frame that the host link carries to the programs (`probe.rs` there); the
//! transport checksum is left to whatever device knows how to fill it in, so that one which does it
//! wrong inside of a tunnel shows.

mod frame;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use frame::{Frame, Nonce};
use socket::HostLink;

/// How often a host that does not answer is asked.
const ATTEMPTS: u8 = 3;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long one looks for what has come already.
const GLANCE: Duration = Duration::from_millis(1);
/// Bytes of the smaller question's IP packet, with some room for a pattern.
const SMALL: usize = 100;

/// What came of asking one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It answered questions of this size, in bytes of the IP packet, and smaller ones.
    Whole(usize),
    /// It only answered the smaller questions; those of the size did not come through.
    OnlySmall(usize),
    /// It answered, and what came back was damaged.
    Damaged,
    /// It did not answer.
    Silent,
}

/// Asks the other hosts. Made by [`crate::DataPlane::prober`]; may be used on another thread.
#[derive(Debug, Clone)]
pub struct Prober {
    /// This host's address for tunnels.
    pub(crate) node: IpAddr,
    /// Those of the others.
    pub(crate) peers: Vec<IpAddr>,
    /// The host's end of the host link.
    pub(crate) link: u32,
    /// Largest packet that fits the tunnel.
    pub(crate) mtu: usize,
}

/// What is known of one host.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    small: bool,
    large: bool,
    damaged: bool,
}

impl Prober {
    /// Asks all hosts at the same time, for a second at most. `nonce` tells this call's questions
    /// from those of others.
    ///
    /// # Errors
    ///
    /// When the host link takes no frames.
    pub fn run(&self, nonce: u64) -> io::Result<BTreeMap<IpAddr, Reached>> {
        let mut heard: BTreeMap<IpAddr, Heard> = BTreeMap::new();
        heard.extend(self.peers.iter().map(|peer| (*peer, Heard::default())));
        let link = HostLink::open(self.link)?;
        for _ in 0..ATTEMPTS {
            self.ask(&link, nonce, &heard)?;
            self.listen(&link, nonce, &mut heard)?;
        }
        let reached = |(peer, heard): (IpAddr, Heard)| (peer, heard.reached(self.mtu));
        Ok(heard.into_iter().map(reached).collect())
    }

    /// Asks hosts of the cluster once, with a small packet each, and returns those that did not
    /// answer within `patience`. This host and strangers are not asked, and not returned.
    ///
    /// # Errors
    ///
    /// When the host link takes no frames.
    pub fn silent(
        &self,
        hosts: &BTreeSet<IpAddr>,
        patience: Duration,
        nonce: u64,
    ) -> io::Result<BTreeSet<IpAddr>> {
        let asked = self.peers.iter().filter(|peer| hosts.contains(peer));
        let mut silent: BTreeSet<IpAddr> = asked.copied().collect();
        let link = HostLink::open(self.link)?;
        for &host in &silent {
            link.send(&Frame::question(self.node, host, SMALL, Nonce(nonce)))?;
        }
        let asked = Instant::now();
        while !silent.is_empty() && asked.elapsed() < patience * 2 {
            // What came in time counts, also when it is this thread that is late.
            let left = patience.saturating_sub(asked.elapsed()).max(GLANCE);
            match link.receive(left)? {
                Some((bytes, has_checksum)) => {
                    let answer = frame::answer(&bytes, self.node, Nonce(nonce), has_checksum);
                    silent.retain(|host| answer.as_ref().is_none_or(|a| a.from != *host));
                }
                None if asked.elapsed() >= patience => break,
                None => {}
            }
        }
        Ok(silent)
    }

    /// Asks whatever was not answered yet.
    fn ask(&self, link: &HostLink, nonce: u64, heard: &BTreeMap<IpAddr, Heard>) -> io::Result<()> {
        for (&peer, heard) in heard {
            for (size, answered) in [(SMALL, heard.small), (self.mtu, heard.large)] {
                if !answered {
                    let question = Frame::question(self.node, peer, size, Nonce(nonce));
                    link.send(&question)?;
                }
            }
        }
        Ok(())
    }

    /// Takes answers until all are there or the time is up.
    fn listen(
        &self,
        link: &HostLink,
        nonce: u64,
        heard: &mut BTreeMap<IpAddr, Heard>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while heard.values().any(|heard| !(heard.small && heard.large)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let Some((bytes, has_checksum)) = link.receive(left)? else {
                continue;
            };
            let Some(answer) = frame::answer(&bytes, self.node, Nonce(nonce), has_checksum) else {
                continue;
            };
            let Some(heard) = heard.get_mut(&answer.from) else {
                continue;
            };
            heard.damaged |= answer.damaged;
            heard.small |= answer.size == SMALL;
            heard.large |= answer.size == self.mtu;
        }
        Ok(())
    }
}

impl Heard {
    fn reached(self, size: usize) -> Reached {
        match self {
            Self { damaged: true, .. } => Reached::Damaged,
            Self { large: true, .. } => Reached::Whole(size),
            Self { small: true, .. } => Reached::OnlySmall(size),
            Self { .. } => Reached::Silent,
        }
    }
}
