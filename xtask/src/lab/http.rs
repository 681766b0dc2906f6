//! The least HTTP that asks a daemon on a unix socket: one request, one JSON answer.
//!
//! Own code so that tests can also send what no client library would.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// An Engine API on a socket.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// The API behind a unix socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Status and body of a GET; a body that is no JSON becomes a string.
    pub fn get(&self, path: &str) -> Result<(u16, Value)> {
        self.request("GET", path, "")
    }

    /// Status and body of a POST with any bytes as its body.
    pub fn post(&self, path: &str, body: &str) -> Result<(u16, Value)> {
        self.request("POST", path, body)
    }

    /// The JSON that a GET answers with status 200.
    pub fn want(&self, path: &str) -> Result<Value> {
        let (status, body) = self.get(path)?;
        if status != 200 {
            bail!("GET {path} answers {status}: {body}");
        }
        Ok(body)
    }

    /// Any request.
    pub fn request(&self, method: &str, path: &str, body: &str) -> Result<(u16, Value)> {
        let mut stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("cannot connect to {}", self.socket.display()))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        // HTTP/1.0 has neither chunks nor connections that stay open.
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: lab\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .with_context(|| format!("no answer to {method} {path}"))?;
        parse(&String::from_utf8_lossy(&answer))
    }
}

fn parse(answer: &str) -> Result<(u16, Value)> {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer is no HTTP")?;
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok());
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
    Ok((status.context("the answer has no status")?, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn status_and_json_are_taken_from_an_answer() {
        let answer = "HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n{\"message\":\"no such\"}";
        assert_eq!(parse(answer).unwrap(), (404, json!({"message": "no such"})));
    }

    #[test]
    fn text_is_kept_as_it_is() {
        assert_eq!(
            parse("HTTP/1.1 200 OK\r\n\r\nOK").unwrap(),
            (200, json!("OK"))
        );
        assert!(parse("nonsense").is_err());
    }
}
