//! Upgrades under traffic: no datagram lost, no connection reset.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aya::maps::{HashMap, Map, MapData, MapInfo};
use aya::programs::links::{FdLink, PinnedLink};
use orch_core::network::Protocol;
use orch_dataplane::TableSizes;
use orch_ebpf_common::LAYOUT_VERSION;

use crate::cluster::{Cluster, PORT, PUBLISHED, VIP};
use crate::lab::{Container, Host, Lab, Namespace, overlay};
use crate::sockets::{Server, UdpServer, connect, greeting, talk};

/// Bytes of a key of `FLOWS`, in all layouts.
const KEY: usize = 44;
/// Bytes of a value of `FLOWS` in layout 1.
const VALUE_1: usize = 68;
/// Bytes of a value of `FLOWS` since layout 2.
const VALUE_2: usize = 96;

/// Two hosts, a client on the first and a server on the second one, and conversations between
/// them and with an outside client in all the ways that there are.
struct Traffic {
    streams: Vec<TcpStream>,
    datagrams: Vec<Datagrams>,
    _servers: (Server, UdpServer),
}

impl Traffic {
    fn start(lab: &Lab, client: &Container, task: &Container) -> Self {
        let one = &lab.hosts[0];
        let servers = (
            Server::start(&task.namespace, "task", PORT),
            UdpServer::start(&task.namespace, "task", PORT),
        );
        let ways = [
            (&client.namespace, task.address, PORT),
            (&client.namespace, overlay(VIP), PORT),
            (&lab.client, one.address, PUBLISHED),
        ];
        let streams = ways.map(|(from, address, port)| connect(from, address, port).unwrap());
        for stream in &streams {
            assert!(greeting(stream).starts_with("task "));
        }
        let datagrams = ways.map(|(from, address, port)| Datagrams::start(from, address, port));
        Self {
            streams: streams.into(),
            datagrams: datagrams.into(),
            _servers: servers,
        }
    }

    fn talk(&self, when: &str) {
        for stream in &self.streams {
            talk(stream, when);
        }
    }

    /// Ends the traffic; nothing of it may have been lost.
    fn finish(self) {
        self.talk("in the end");
        for datagrams in self.datagrams {
            let (sent, answered) = datagrams.finish();
            assert!(sent > 100, "only {sent} datagrams were sent meanwhile");
            assert_eq!(sent, answered, "datagrams were lost");
        }
    }
}

/// Asks a server a question each millisecond, and counts the answers.
struct Datagrams {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u32, u32)>,
}

impl Datagrams {
    fn start(from: &Namespace, address: IpAddr, port: u16) -> Self {
        let socket = from.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
        socket.connect((address, port)).unwrap();
        let pace = Duration::from_millis(1);
        socket.set_read_timeout(Some(pace)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut sent, mut answered) = (0, 0);
            while !told.load(Ordering::Relaxed) {
                socket.send(b"?").unwrap();
                sent += 1;
                let next = Instant::now() + pace;
                while Instant::now() < next {
                    answered += u32::from(is_answered(&socket));
                }
            }
            let patience = Instant::now() + Duration::from_secs(5);
            while answered < sent && Instant::now() < patience {
                answered += u32::from(is_answered(&socket));
            }
            (sent, answered)
        });
        Self { stop, thread }
    }

    /// How many were sent, and how many were answered.
    fn finish(self) -> (u32, u32) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Whether an answer came within the time that the socket waits.
fn is_answered(socket: &UdpSocket) -> bool {
    match socket.recv(&mut [0; 64]) {
        Ok(_) => true,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        Err(error) => panic!("{error}"),
    }
}

/// The directories of layouts that a host has pins in.
fn layouts(host: &Host) -> Vec<PathBuf> {
    let entries = fs::read_dir(&host.bpf_dir).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The directory of the layout that this build has.
fn ours(host: &Host) -> PathBuf {
    host.bpf_dir.join(format!("v{LAYOUT_VERSION}"))
}

/// The program that is in charge of a host's connecting sockets, by the kernel's number. The links
/// of devices are not of the same kind on all kernels.
fn program(host: &Host) -> u32 {
    let link = ours(host).join("links/connect4");
    let link = FdLink::from(PinnedLink::from_pin(link).unwrap());
    link.info().unwrap().program_id()
}

/// What upgrades from `before` to `after` do to the traffic of both hosts, one after the other.
fn upgrade(before: impl Fn(&Host), after: impl Fn(&Host)) {
    let lab = Lab::new(2);
    let [one, two] = &lab.hosts[..] else {
        unreachable!()
    };
    let (client, task) = (one.container(2), two.container(3));
    let mut cluster = Cluster::new(&lab);
    cluster
        .endpoint(&client, one)
        .endpoint(&task, two)
        .vip(&[&task])
        .publish(Protocol::Tcp, &[&task])
        .publish(Protocol::Udp, &[&task])
        .apply();
    let traffic = Traffic::start(&lab, &client, &task);

    for host in &lab.hosts {
        host.die();
        before(host);
        traffic.talk("while no daemon runs");
        after(host);
        traffic.talk("before the desired state is known");
        cluster.apply_on(host);
        traffic.talk("after the desired state is known");
        assert_eq!(layouts(host).len(), 1, "what was there before is swept");
    }

    traffic.finish();
}

#[test]
fn another_build_of_the_programs_takes_over_without_a_loss() {
    // Each start loads programs of its own.
    upgrade(
        |_| {},
        |host| {
            let old = program(host);
            host.open();
            assert_ne!(old, program(host));
        },
    );
}

#[test]
fn tables_of_another_size_keep_the_conversations() {
    let entries = |host: &Host| {
        let map = ours(host).join("maps/FLOWS");
        MapInfo::from_pin(map).unwrap().max_entries()
    };
    let flows = TableSizes::default().flows;
    upgrade(
        |host| assert_eq!(entries(host), flows),
        |host| {
            host.open_with(TableSizes {
                flows: flows / 2,
                ..TableSizes::default()
            });
            assert_eq!(entries(host), flows / 2);
        },
    );
}

/// The programs go on with the maps that they have, while the pins show what a daemon with layout
/// 1 would have left: the new maps can have the conversations from there only.
#[test]
fn maps_of_layout_1_keep_the_conversations() {
    upgrade(
        |host| {
            let older = host.bpf_dir.join("v1");
            fs::rename(ours(host), &older).unwrap();
            let maps = older.join("maps");
            let mut old: HashMap<MapData, [u8; KEY], [u8; VALUE_1]> =
                HashMap::create(1024, 0).unwrap();
            for table in ["OPENING", "FLOWS"] {
                let data = MapData::from_pin(maps.join(table)).unwrap();
                let table: HashMap<MapData, [u8; KEY], [u8; VALUE_2]> =
                    Map::LruHashMap(data).try_into().unwrap();
                for (key, value) in table.iter().map(Result::unwrap) {
                    let value: [u8; VALUE_1] = value[..VALUE_1].try_into().unwrap();
                    old.insert(key, value, 0).unwrap();
                }
            }
            for entry in fs::read_dir(&maps).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
            old.pin(maps.join("FLOWS")).unwrap();
        },
        Host::open,
    );
}
