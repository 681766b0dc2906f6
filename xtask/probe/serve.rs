//! The server: one line for everybody who asks.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use anyhow::{Context, Result};

use crate::target::plain;

/// Answers at all addresses, for ever.
pub fn serve(name: &str, port: u16, addresses: &[IpAddr]) -> Result<()> {
    let mut sockets = Vec::new();
    for &address in addresses {
        let at = SocketAddr::from((address, port));
        let context = || format!("cannot listen at {at}");
        let tcp = TcpListener::bind(at).with_context(context)?;
        let udp = UdpSocket::bind(at).with_context(context)?;
        sockets.push((tcp, udp));
    }
    thread::scope(|scope| {
        for (tcp, udp) in sockets {
            scope.spawn(move || connections(name, &tcp));
            scope.spawn(move || datagrams(name, &udp));
        }
    });
    Ok(())
}

fn answer(name: &str, client: SocketAddr) -> String {
    format!("{name} {}\n", plain(client))
}

fn connections(name: &str, listener: &TcpListener) {
    thread::scope(|scope| {
        for stream in listener.incoming().flatten() {
            // A client that goes away is its own business.
            scope.spawn(move || converse(name, stream).ok());
        }
    });
}

fn converse(name: &str, stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let line = answer(name, stream.peer_addr()?);
    let mut sender = &stream;
    for asked in BufReader::new(&stream).lines() {
        asked?;
        sender.write_all(line.as_bytes())?;
    }
    Ok(())
}

fn datagrams(name: &str, socket: &UdpSocket) {
    let mut room = [0; 2048];
    loop {
        // An error here is that of an earlier answer, which nobody wanted.
        if let Ok((_, client)) = socket.recv_from(&mut room) {
            socket.send_to(answer(name, client).as_bytes(), client).ok();
        }
    }
}
