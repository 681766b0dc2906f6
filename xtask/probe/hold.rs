//! The client that keeps its conversations.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::ask::{Connection, LIMIT, datagram};
use crate::target::{Protocol, Target};
use crate::{echo, stream};

/// Between two exchanges of a conversation.
const PAUSE: Duration = Duration::from_millis(50);
/// How long an answer may take: a cable may be pulled and put back meanwhile, and TCP then waits
/// twice as long with every attempt.
const PATIENCE: Duration = Duration::from_secs(20);

static OVER: AtomicBool = AtomicBool::new(false);

/// A conversation.
enum Kept {
    /// A connection, asked again and again.
    Connection(Box<Connection>),
    /// A thousand datagrams a second, each of which wants an answer.
    Datagrams(SocketAddr),
    /// A thousand echo requests a second at most: each waits for the answer to the one before.
    Echoes(IpAddr),
}

impl Kept {
    fn begin(target: &Target) -> Result<Self> {
        let address = target.resolve()?;
        Ok(match target.protocol {
            Protocol::Tcp => {
                let mut connection = Connection::open(address)?;
                connection.exchange()?;
                connection.patience(PATIENCE)?;
                Self::Connection(Box::new(connection))
            }
            Protocol::Udp => {
                datagram(address)?;
                Self::Datagrams(address)
            }
            Protocol::Icmp => {
                echo::ask(address.ip(), LIMIT)?;
                Self::Echoes(address.ip())
            }
        })
    }

    fn keep(&mut self) -> Result<u64> {
        match self {
            Self::Connection(connection) => keep(connection),
            Self::Datagrams(address) => stream::keep(*address, &OVER),
            Self::Echoes(address) => {
                let mut count = 0;
                while !OVER.load(Ordering::Relaxed) {
                    echo::ask(*address, LIMIT)?;
                    thread::sleep(stream::PAUSE);
                    count += 1;
                }
                Ok(count)
            }
        }
    }
}

/// Says `held` once every target has answered, and at the end of the standard input one line for
/// each: `ok N` exchanges, or `error WHY`.
pub fn all(targets: &[Target]) -> Result<()> {
    let mut kept = targets
        .iter()
        .map(Kept::begin)
        .collect::<Result<Vec<_>>>()?;
    println!("held");
    let ended: Vec<Result<u64>> = thread::scope(|scope| {
        let running: Vec<_> = kept
            .iter_mut()
            .map(|conversation| scope.spawn(|| conversation.keep()))
            .collect();
        let input = std::io::stdin().lock().read_to_end(&mut Vec::new());
        OVER.store(true, Ordering::Relaxed);
        let joined = running.into_iter().map(|thread| thread.join());
        input.ok();
        joined
            .map(|count| count.unwrap_or_else(|_| Err(anyhow::anyhow!("the client panicked"))))
            .collect()
    });
    for (target, count) in targets.iter().zip(ended) {
        match count {
            Ok(count) => println!("ok {target}: {count} answers"),
            Err(error) => println!("error {target}: {error:#}"),
        }
    }
    Ok(())
}

/// The answer is always the same, as the server and the address that it sees are.
fn keep(connection: &mut Connection) -> Result<u64> {
    let first = connection.exchange()?;
    let mut count = 1;
    while !OVER.load(Ordering::Relaxed) {
        thread::sleep(PAUSE);
        let answer = connection.exchange()?;
        anyhow::ensure!(answer == first, "{first:?} became {answer:?}");
        count += 1;
    }
    Ok(count)
}
