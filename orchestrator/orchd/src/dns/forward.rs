//! Asks resolvers on behalf of a client.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::Question;
use super::{MESSAGE_BYTES_MAX, resolvers};

/// Time that a resolver has for an answer.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);

/// How a question came and is forwarded. A client whose answer was cut short asks again by TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// Messages after their length.
    Tcp,
}

impl Transport {
    /// IP protocol number.
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Udp => 17,
            Self::Tcp => 6,
        }
    }

    /// Longest answer that every client takes, in bytes (RFC 1035 section 4.2).
    pub const fn answer_bytes_max(self) -> usize {
        match self {
            Self::Udp => 512,
            Self::Tcp => MESSAGE_BYTES_MAX,
        }
    }
}

/// The answer of the host's resolvers to a question.
pub async fn ask(question: &Question, transport: Transport) -> Option<Vec<u8>> {
    let servers = resolvers::of_host().await;
    ask_in_turn(question, &servers, transport, SERVER_TIMEOUT).await
}

/// The first answer that one of `servers` gives, each within `limit`.
async fn ask_in_turn(
    question: &Question,
    servers: &[SocketAddr],
    transport: Transport,
    limit: Duration,
) -> Option<Vec<u8>> {
    for server in servers {
        let exchange = async {
            match transport {
                Transport::Udp => ask_udp(question, *server).await,
                Transport::Tcp => ask_tcp(question, *server).await,
            }
        };
        match timeout(limit, exchange).await {
            Ok(Ok(Some(reply))) => return Some(reply),
            Ok(Ok(None)) => tracing::debug!(%server, "the resolver cannot answer"),
            Ok(Err(error)) => tracing::debug!(%server, %error, "cannot ask a resolver"),
            Err(_) => tracing::debug!(%server, "the resolver does not answer"),
        }
    }
    question.failure()
}

async fn ask_udp(question: &Question, server: SocketAddr) -> io::Result<Option<Vec<u8>>> {
    let local = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    // A new socket for each question: its random port is half of what a forger must guess.
    let socket = UdpSocket::bind(SocketAddr::new(local, 0)).await?;
    socket.connect(server).await?;
    let id = rand::random();
    let Some(message) = question.forwarded(id) else {
        return Ok(None);
    };
    socket.send(&message).await?;
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let length = socket.recv(&mut buffer).await?;
    Ok(question.answer(id, &buffer[..length]))
}

async fn ask_tcp(question: &Question, server: SocketAddr) -> io::Result<Option<Vec<u8>>> {
    let mut stream = TcpStream::connect(server).await?;
    let id = rand::random();
    let Some(message) = question.forwarded(id) else {
        return Ok(None);
    };
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_u16(length).await?;
    stream.write_all(&message).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    Ok(question.answer(id, &buffer))
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};
    use tokio::net::TcpListener;

    use super::*;

    fn question() -> Question {
        let mut message = Message::new(9, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(
            Name::from_ascii("example.org.").unwrap(),
            RecordType::A,
        ));
        Question::parse(&message.to_vec().unwrap()).unwrap()
    }

    fn reply_to(bytes: &[u8], code: ResponseCode) -> Vec<u8> {
        let asked = Message::from_vec(bytes).unwrap();
        let mut reply = Message::error_msg(asked.metadata.id, OpCode::Query, code);
        reply.add_queries(asked.queries);
        reply.to_vec().unwrap()
    }

    /// A resolver on the loopback that answers one question with `code`.
    async fn udp_resolver(code: ResponseCode) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
            socket
                .send_to(&reply_to(&buffer[..length], code), client)
                .await
                .unwrap();
        });
        address
    }

    fn code(reply: &[u8]) -> (u16, ResponseCode) {
        let message = Message::from_vec(reply).unwrap();
        (message.metadata.id, message.metadata.response_code)
    }

    #[tokio::test]
    async fn the_next_resolver_is_asked_when_one_cannot_answer() {
        let servers = [
            udp_resolver(ResponseCode::ServFail).await,
            udp_resolver(ResponseCode::NXDomain).await,
        ];
        let reply = ask_in_turn(&question(), &servers, Transport::Udp, SERVER_TIMEOUT).await;
        assert_eq!(code(&reply.unwrap()), (9, ResponseCode::NXDomain));
    }

    #[tokio::test]
    async fn without_an_answer_the_client_is_told_so() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let nobody = UdpSocket::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let servers = [nobody, silent.local_addr().unwrap()];
        let limit = Duration::from_millis(20);
        for servers in [servers.as_slice(), &[]] {
            let reply = ask_in_turn(&question(), servers, Transport::Udp, limit)
                .await
                .unwrap();
            assert_eq!(code(&reply), (9, ResponseCode::ServFail));
        }
    }

    #[tokio::test]
    async fn tcp_questions_are_asked_by_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut buffer = vec![0; usize::from(length)];
            stream.read_exact(&mut buffer).await.unwrap();
            let reply = reply_to(&buffer, ResponseCode::NoError);
            stream
                .write_u16(u16::try_from(reply.len()).unwrap())
                .await
                .unwrap();
            stream.write_all(&reply).await.unwrap();
        });
        let reply = ask_in_turn(&question(), &[address], Transport::Tcp, SERVER_TIMEOUT).await;
        assert_eq!(code(&reply.unwrap()), (9, ResponseCode::NoError));
    }
}
