//! Who has a port.

use std::fs;
use std::net::{TcpListener, UdpSocket};

use super::Check;

/// A transport protocol.
#[derive(Clone, Copy)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    fn try_bind(self, port: u16) -> std::io::Result<()> {
        match self {
            Self::Tcp => TcpListener::bind(("0.0.0.0", port)).map(drop),
            Self::Udp => UdpSocket::bind(("0.0.0.0", port)).map(drop),
        }
    }
}

/// Whether a port is free; if not, whose it is.
pub(super) fn check(name: &str, transport: Transport, port: u16, fix: &str) -> Check {
    let found = transport
        .try_bind(port)
        .map(|()| format!("{port} is free"))
        .map_err(|error| format!("{port}: {error} ({})", owner(transport, port)));
    Check::new(name, found, fix)
}

/// The process that has a port, in words.
fn owner(transport: Transport, port: u16) -> String {
    let tables = ["", "6"].map(|family| {
        let path = format!("/proc/thread-self/net/{}{family}", transport.name());
        fs::read_to_string(path).unwrap_or_default()
    });
    let inode = tables.iter().find_map(|table| inode_of(table, port));
    match inode.and_then(process_with) {
        Some(process) => format!("held by {process}"),
        None => "held by a tunnel of the kernel, or by a process that cannot be seen".to_owned(),
    }
}

/// The inode of the socket that is bound to a port, by a table such as `/proc/net/udp`: its second
/// column is `address:port` in hexadecimal digits, its tenth the inode. Listeners of TCP and bound
/// sockets of UDP have no remote port.
fn inode_of(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let port_of = |column: &str| {
            let (_, port) = column.rsplit_once(':')?;
            u16::from_str_radix(port, 16).ok()
        };
        let is_it = port_of(columns.get(1)?)? == port && port_of(columns.get(2)?)? == 0;
        let inode = columns.get(9)?.parse().ok()?;
        (is_it && inode != 0).then_some(inode)
    })
}

/// Name and number of a process that has a socket open.
fn process_with(inode: u64) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        // Beside the processes by number there are names for the asking one.
        let number: u32 = process.file_name().to_str()?.parse().ok()?;
        let files = fs::read_dir(process.path().join("fd")).ok()?;
        let has = files.flatten().any(|file| {
            fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        });
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        has.then(|| format!("{}, process {number}", name.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_port_is_named() {
        for transport in [Transport::Tcp, Transport::Udp] {
            let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
            let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
            let port = match transport {
                Transport::Tcp => tcp.local_addr(),
                Transport::Udp => udp.local_addr(),
            };
            let port = port.unwrap().port();
            let found = check("port", transport, port, "choose another");
            let process = format!("process {}", std::process::id());
            assert!(found.failed() && found.detail.contains(&process), "{found}");
            drop((tcp, udp));
            assert!(!check("port", transport, port, "choose another").failed());
        }
    }

    #[test]
    fn sockets_of_conversations_are_no_owners() {
        let table = "  sl  local_address rem_address st tx rx tr tm retr uid timeout inode\n\
             0: 00000000:0949 0100007F:1F90 01 0:0 00:0 0 0 0 77 1 0\n\
             1: 00000000:0949 00000000:0000 0A 0:0 00:0 0 0 0 78 1 0\n";
        let columns = inode_of(table, 2377);
        assert_eq!(columns, Some(78));
        assert_eq!(inode_of(table, 2378), None);
    }
}
