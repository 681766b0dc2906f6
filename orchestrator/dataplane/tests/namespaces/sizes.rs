//! Packets of every size at the edges, with links of two sizes, with and without the work that the
//! kernel leaves to devices.
#![expect(
    unsafe_code,
    reason = "socket options and device settings that no crate has"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socket, sockopt};
use orch_core::network::Protocol;
use orch_dataplane::DropReason;

use crate::cluster::{Cluster, PORT, PUBLISHED, VIP};
use crate::lab::{Container, Lab, Namespace, overlay, overlay_v6, underlay, underlay_v6};
use crate::sockets::{Server, connect, greeting, talk};

const PATIENCE: Duration = Duration::from_secs(5);
/// What VXLAN over IPv4 takes.
const OVERHEAD: usize = 50;

/// Whether a sender lets its packets be cut on the way.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// It does, and does not care for the path's MTU.
    Allowed,
    /// It cuts datagrams itself, to what it knows of the path.
    BySender,
    /// Nobody may.
    Forbidden,
}

impl Cut {
    /// `IP_PMTUDISC_*` of `include/uapi/linux/in.h`.
    const fn discovery(self) -> i32 {
        match self {
            Self::Allowed => libc::IP_PMTUDISC_DONT,
            Self::BySender => libc::IP_PMTUDISC_WANT,
            Self::Forbidden => libc::IP_PMTUDISC_DO,
        }
    }
}

/// A UDP socket in a namespace, of the family of `like`.
fn udp(namespace: &Namespace, like: IpAddr, port: u16, cut: Cut) -> UdpSocket {
    let (any, level, option): (IpAddr, _, _) = match like {
        IpAddr::V4(_) => (
            Ipv4Addr::UNSPECIFIED.into(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
        ),
        IpAddr::V6(_) => (
            Ipv6Addr::UNSPECIFIED.into(),
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
        ),
    };
    let socket = namespace.run(|| UdpSocket::bind((any, port))).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let value = cut.discovery();
    let size = u32::try_from(size_of_val(&value)).unwrap();
    // SAFETY: the value is as long as is said, and lives until the call returns.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size,
        )
    };
    assert_eq!(status, 0, "{}", io::Error::last_os_error());
    socket
}

/// Bytes of IP and UDP headers.
const fn headers(address: IpAddr) -> usize {
    if address.is_ipv4() { 28 } else { 48 }
}

/// Sends a packet of `len` bytes and gets one as long back.
fn echo(client: &UdpSocket, server: &UdpSocket, to: SocketAddr, len: usize) -> io::Result<()> {
    let sent: Vec<u8> = (0..len - headers(to.ip()))
        .map(|at| (at % 251) as u8)
        .collect();
    let mut buffer = vec![0; 65536];
    client.connect(to)?;
    client.send(&sent)?;
    let (received, peer) = server.recv_from(&mut buffer)?;
    assert_eq!(buffer[..received], sent[..], "{len} bytes to {to}");
    server.send_to(&sent, peer)?;
    let received = client.recv(&mut buffer)?;
    assert_eq!(buffer[..received], sent[..], "{len} bytes from {to}");
    Ok(())
}

/// The size that the kernel has learned of the way that a connected socket takes.
fn learned_mtu(socket: &UdpSocket) -> i32 {
    getsockopt(socket, sockopt::IpMtu).unwrap()
}

/// Turns off what a device does for the kernel: checksums, segmentation, and putting segments
/// together.
fn without_offloads(namespace: &Namespace) {
    // `ETHTOOL_STXCSUM`, `SRXCSUM`, `STSO`, `SGSO`, `SGRO` of `include/uapi/linux/ethtool.h`.
    const COMMANDS: [u32; 5] = [0x17, 0x15, 0x1f, 0x24, 0x2c];
    const SIOCETHTOOL: u64 = 0x8946;
    let socket = || {
        socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::empty(),
            None,
        )
    };
    let control: OwnedFd = namespace.run(socket).unwrap();
    for command in COMMANDS {
        // `struct ethtool_value`: a command, and here "off".
        let mut value = [command, 0];
        // SAFETY: plain integers and a pointer, for which all zeros is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(b"eth0") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
        // SAFETY: both structures are what the call expects, and live until it returns.
        let status = unsafe { libc::ioctl(control.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        assert_eq!(status, 0, "{command:#x}: {}", io::Error::last_os_error());
    }
}

/// Sends what an outside client sends to the published port, over links of `mtu`.
fn from_outside(lab: &Lab, task: &Container, address: IpAddr, mtu: usize) {
    let fits = mtu - OVERHEAD;
    let to = SocketAddr::new(address, PUBLISHED);
    let server = udp(&task.namespace, address, PORT, Cut::BySender);
    // What may be cut arrives before anybody has learned a size: IPv6 knows of none such.
    if address.is_ipv4() {
        let client = udp(&lab.client, address, 0, Cut::Allowed);
        for len in [fits, fits + 1, mtu, mtu + 1, 2 * mtu] {
            echo(&client, &server, to, len).unwrap();
        }
    }
    let client = udp(&lab.client, address, 0, Cut::Forbidden);
    for len in [fits - 1, fits] {
        echo(&client, &server, to, len).unwrap();
    }
    client.send(&vec![0; fits + 1 - headers(address)]).unwrap();
    let told = client.recv(&mut [0; 9]).unwrap_err();
    assert_eq!(
        told.raw_os_error(),
        Some(libc::EMSGSIZE),
        "{told} from {to}"
    );
    if address.is_ipv4() {
        assert_eq!(usize::try_from(learned_mtu(&client)).unwrap(), fits);
    }
    // Now the sender knows, and cuts by itself.
    let client = udp(&lab.client, address, 0, Cut::BySender);
    for len in [fits + 1, mtu, mtu + 1, 3 * mtu] {
        echo(&client, &server, to, len).unwrap();
    }
    drop(server);
    let stream = connect(&lab.client, address, PUBLISHED).unwrap();
    assert!(greeting(&stream).starts_with("task "));
    talk(&stream, &"x".repeat(1 << 20));
}

/// Sends what a task sends to another host's task by one of its addresses; `fits` is the largest
/// packet that the tunnel takes.
fn between_tasks(asker: &Container, task: &Container, address: IpAddr, fits: usize) {
    let to = SocketAddr::new(address, PORT);
    let server = udp(&task.namespace, address, PORT, Cut::BySender);
    for (cut, sizes) in [
        (Cut::Forbidden, vec![fits - 1, fits]),
        (Cut::BySender, vec![fits + 1, 3 * fits]),
    ] {
        let client = udp(&asker.namespace, address, 0, cut);
        for len in sizes {
            echo(&client, &server, to, len).unwrap_or_else(|error| panic!("{to} {len}: {error}"));
        }
    }
    let stream = connect(&asker.namespace, address, PORT).unwrap();
    assert!(greeting(&stream).starts_with("task "));
    talk(&stream, &"x".repeat(1 << 20));
}

/// Sends everything over links of one MTU.
fn try_sizes(mtu: u32, offloads: bool) {
    let lab = Lab::with_mtu(2, mtu);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (asker, task) = (one.container(2), two.container(3));
    Cluster::new(&lab)
        .endpoint(&asker, one)
        .endpoint(&task, two)
        .vip(&[&task])
        .publish(Protocol::Tcp, &[&task])
        .publish(Protocol::Udp, &[&task])
        .apply();
    if !offloads {
        let hosts = [&one.namespace, &two.namespace, &lab.client];
        for namespace in hosts.into_iter().chain([&asker.namespace, &task.namespace]) {
            without_offloads(namespace);
        }
    }
    let _server = Server::start(&task.namespace, "task", PORT);
    let mtu = usize::try_from(mtu).unwrap();
    let fits = mtu - OVERHEAD;
    let published = [underlay(1), underlay_v6(1)];
    let inside = [overlay(VIP), overlay_v6(VIP), task.address, task.address_v6];

    for address in published {
        from_outside(&lab, &task, address, mtu);
    }
    for address in inside {
        between_tasks(&asker, &task, address, fits);
    }
    for host in &lab.hosts {
        let drops = host.run(|_, plane| plane.as_ref().unwrap().drops().unwrap());
        for reason in [
            DropReason::Malformed,
            DropReason::Fragment,
            DropReason::RewriteFailed,
        ] {
            assert_eq!(drops[&reason], 0, "{reason:?} of {}", host.address);
        }
    }
}

#[test]
fn every_size_passes_or_is_answered() {
    for mtu in [1500, 9000] {
        for offloads in [true, false] {
            try_sizes(mtu, offloads);
        }
    }
}
