//! Attach and exec of clients that do not ask for an upgrade: the engine answers 200 and then
//! takes the connection over, which is not HTTP any more. Such a connection is passed through as
//! raw bytes from its first request on.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::UnixStream;

use super::error::ApiError;
use super::proxy;
use super::upstream::Upstream;
use super::version::{ApiVersion, split_path};

/// More than any client's request head.
const HEAD_LIMIT: usize = 64 * 1024;

/// Reads up to the end of the first request's head. What was read beyond it is returned too; an
/// empty or unfinished head means that the client is gone or does not speak HTTP.
pub async fn read_head(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::with_capacity(1024);
    while head_end(&read).is_none() && read.len() < HEAD_LIMIT {
        if stream.read_buf(&mut read).await? == 0 {
            break;
        }
    }
    Ok(read)
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// The request line and headers of a request that takes over its connection without asking.
pub struct Hijack<'a> {
    version: Option<ApiVersion>,
    path: &'a str,
    query: &'a str,
    headers: Vec<&'a str>,
    /// What the client sent after the head.
    rest: &'a [u8],
}

impl<'a> Hijack<'a> {
    /// Looks whether the first request on a connection is such a one.
    pub fn detect(read: &'a [u8]) -> Option<Self> {
        let (head, rest) = read.split_at(head_end(read)?);
        let mut lines = std::str::from_utf8(head).ok()?.trim_end().split("\r\n");
        let mut request_line = lines.next()?.split(' ');
        let (method, target) = (request_line.next()?, request_line.next()?);
        let (full_path, query) = target.split_once('?').unwrap_or((target, ""));
        let (version, path) = split_path(full_path);
        let headers: Vec<_> = lines.collect();
        let upgrades = headers.iter().any(|header| is_named(header, "upgrade"));
        let supported = version.is_none_or(|version| version.check().is_ok());
        (method == "POST" && takes_over(path) && !upgrades && supported).then_some(Self {
            version,
            path,
            query,
            headers,
            rest,
        })
    }

    /// Connects the client with the engine and passes bytes both ways until both are done.
    pub async fn run(self, client: &mut UnixStream, upstream: &Upstream) -> std::io::Result<()> {
        let prepared = async {
            let path = proxy::engine_path(upstream, self.version, self.path).await?;
            Ok::<_, ApiError>((upstream.connect().await?, path))
        };
        match prepared.await {
            Ok((mut engine, path)) => {
                engine.write_all(self.head(&path).as_bytes()).await?;
                engine.write_all(self.rest).await?;
                copy_bidirectional(client, &mut engine).await?;
                Ok(())
            }
            Err(error) => client.write_all(error.to_http1().as_bytes()).await,
        }
    }

    /// The head for the engine. The connection must end with the answer: what follows on it is
    /// not looked at here.
    fn head(&self, path: &str) -> String {
        let query = if self.query.is_empty() {
            String::new()
        } else {
            format!("?{}", self.query)
        };
        let mut head = format!("POST {path}{query} HTTP/1.1\r\n");
        for header in self
            .headers
            .iter()
            .filter(|header| !is_named(header, "connection"))
        {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("Connection: close\r\n\r\n");
        head
    }
}

fn takes_over(path: &str) -> bool {
    let mut parts = path.trim_start_matches('/').split('/');
    matches!(
        (parts.next(), parts.next(), parts.next(), parts.next()),
        (Some("containers"), Some(_), Some("attach"), None)
            | (Some("exec"), Some(_), Some("start"), None)
    )
}

fn is_named(header: &str, name: &str) -> bool {
    header
        .split_once(':')
        .is_some_and(|(found, _)| found.trim().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_attach_and_exec_without_upgrade_take_over() {
        let detected = |head: &str| Hijack::detect(head.as_bytes()).is_some();
        assert!(detected(
            "POST /v1.41/containers/x/attach?stream=1 HTTP/1.1\r\nHost: d\r\n\r\n"
        ));
        assert!(detected("POST /exec/x/start HTTP/1.1\r\nHost: d\r\n\r\n{}"));
        assert!(!detected(
            "POST /containers/x/attach HTTP/1.1\r\nupgrade: tcp\r\n\r\n"
        ));
        assert!(!detected("GET /containers/x/attach/ws HTTP/1.1\r\n\r\n"));
        assert!(!detected("POST /containers/x/start HTTP/1.1\r\n\r\n"));
        assert!(!detected("POST /v1.99/exec/x/start HTTP/1.1\r\n\r\n"));
        assert!(!detected("POST /exec/x/start HTTP/1.1\r\nunfinished"));
    }

    #[test]
    fn the_engine_is_told_to_close() {
        let read = b"POST /v1.51/exec/x/start?a=b HTTP/1.1\r\nConnection: keep-alive\r\n\
                     Content-Length: 2\r\n\r\n{}";
        let hijack = Hijack::detect(read).unwrap();
        assert_eq!(hijack.rest, b"{}");
        assert_eq!(
            hijack.head("/v1.41/exec/x/start"),
            "POST /v1.41/exec/x/start?a=b HTTP/1.1\r\nContent-Length: 2\r\n\
             Connection: close\r\n\r\n"
        );
    }
}
