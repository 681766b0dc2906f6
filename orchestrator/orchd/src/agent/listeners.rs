//! Which ports processes of this host listen on, as the kernel says.
//!
//! Read from procfs (`proc_net_tcp` in the kernel's documentation), because the answer must hold
//! for processes that nobody told us of. SCTP is not looked at.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use orch_core::network::Protocol;
use orch_core::objects::node::TakenPort;

/// A port as the cluster wants it: at one address, or at all for an unspecified one.
pub type WantedPort = (Protocol, u16, IpAddr);

/// A socket that takes what comes to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listener {
    address: IpAddr,
    port: u16,
    inode: u64,
}

/// Those of the wanted ports that processes listen on, and which processes. Blocks.
///
/// # Errors
///
/// When procfs cannot be read.
pub fn taken(wanted: &BTreeSet<WantedPort>) -> io::Result<BTreeSet<TakenPort>> {
    let mut taken = BTreeSet::new();
    for (protocol, tables) in [
        (Protocol::Tcp, ["tcp", "tcp6"]),
        (Protocol::Udp, ["udp", "udp6"]),
    ] {
        if !wanted.iter().any(|(of, ..)| *of == protocol) {
            continue;
        }
        for table in tables {
            for listener in listeners(table)? {
                let meets = |(of, port, address): &&WantedPort| {
                    *of == protocol && *port == listener.port && overlap(*address, listener.address)
                };
                if wanted.iter().any(|w| meets(&w)) {
                    taken.insert(TakenPort {
                        protocol,
                        port: listener.port,
                        holder: holder(listener.inode),
                    });
                }
            }
        }
    }
    Ok(taken)
}

fn overlap(a: IpAddr, b: IpAddr) -> bool {
    a.is_unspecified() || b.is_unspecified() || a == b
}

/// The listening sockets of one of the kernel's tables; none when the kernel lacks the protocol.
fn listeners(table: &str) -> io::Result<Vec<Listener>> {
    let file = match File::open(Path::new("/proc/self/net").join(table)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    // The state of a socket that waits for clients (include/net/tcp_states.h): LISTEN, and for
    // UDP, CLOSE.
    let listens = if table.starts_with("tcp") { "0A" } else { "07" };
    let mut found = Vec::new();
    for line in BufReader::new(file).lines().skip(1) {
        match parse(&line?, listens) {
            Some(listener) => found.push(listener),
            // TCP's listening sockets come first; a busy host has many others.
            None if listens == "0A" => break,
            None => {}
        }
    }
    Ok(found)
}

/// One line; `None` if it is not in that state.
fn parse(line: &str, state: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let &[_, local, _, found, _, _, _, _, _, inode, ..] = fields.as_slice() else {
        return None;
    };
    let (address, port) = local.split_once(':')?;
    (found == state).then_some(Listener {
        address: parse_address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        inode: inode.parse().ok()?,
    })
}

/// An address is printed as 32-bit words, each as a number of this machine.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = text.get(at..at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (chunk, at) in bytes.chunks_exact_mut(4).zip((0..).step_by(8)) {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// Whose socket it is, such as `nginx (pid 123)`.
fn holder(inode: u64) -> String {
    let link = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process that ended meanwhile holds nothing.
        let files = fs::read_dir(process.path().join("fd"));
        let mut files = files.into_iter().flatten().flatten();
        if files.any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*link)) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return format!("{} (pid {pid})", name.trim_end());
        }
    }
    "a process of the host".to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn a_port_that_this_process_holds_is_said_to_be_its() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::]:0").unwrap();
        let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let elsewhere: IpAddr = "192.0.2.1".parse().unwrap();
        let ports = [
            (Protocol::Tcp, tcp.local_addr().unwrap().port()),
            (Protocol::Udp, udp.local_addr().unwrap().port()),
        ];
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        for (protocol, port) in ports {
            let taken = taken(&BTreeSet::from([(protocol, port, all)])).unwrap();
            let holder = format!("{} (pid {})", name.trim_end(), std::process::id());
            let mine = TakenPort {
                protocol,
                port,
                holder,
            };
            assert_eq!(taken, BTreeSet::from([mine]), "{protocol}");
        }
        let apart = BTreeSet::from([(Protocol::Tcp, ports[0].1, elsewhere)]);
        assert_eq!(taken(&apart).unwrap(), BTreeSet::new());
    }

    #[test]
    fn lines_of_the_kernel_are_understood() {
        let v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  \
                  1000        0 4711 1 0000000000000000 100 0 0 10 0";
        let listener = Listener {
            address: "127.0.0.1".parse().unwrap(),
            port: 8080,
            inode: 4711,
        };
        if cfg!(target_endian = "little") {
            assert_eq!(parse(v4, "0A"), Some(listener));
        }
        assert_eq!(parse(v4, "07"), None);
        for nonsense in ["", "0: 1 2 0A 4 5 6 7 8 9", "0: 0100007F:1F90 x 0A"] {
            assert_eq!(parse(nonsense, "0A"), None, "{nonsense}");
        }
    }
}
