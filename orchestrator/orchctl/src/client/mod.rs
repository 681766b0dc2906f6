//! The only module that knows HTTP: it speaks Docker's Engine API over orchd's socket and hands
//! out typed answers, raw text or a byte stream. One connection per request.

mod error;
mod host;
mod stream;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

pub use error::Error;
pub use host::Host;
pub use stream::{LogFrame, LogStream, LogTarget, json_lines};

use crate::output;

/// The API version this client speaks; orchd answers 1.24 to 1.51.
const API_VERSION: &str = "/v1.51";

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// One segment of a path, escaped: what a person typed can never become another path.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// A daemon to talk to.
#[derive(Debug, Clone)]
pub struct Client {
    host: Host,
}

/// A request that is being put together.
#[derive(Debug)]
pub struct Call<'a> {
    host: &'a Host,
    method: Method,
    target: String,
    body: Option<Bytes>,
}

impl Client {
    /// A client for `host`; nothing is sent yet.
    pub fn new(host: Host) -> Self {
        Self { host }
    }

    /// A read from the Engine API.
    pub fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, format!("{API_VERSION}{path}"))
    }

    /// A write to the Engine API.
    pub fn post(&self, path: &str) -> Call<'_> {
        self.call(Method::POST, format!("{API_VERSION}{path}"))
    }

    /// A removal through the Engine API.
    pub fn delete(&self, path: &str) -> Call<'_> {
        self.call(Method::DELETE, format!("{API_VERSION}{path}"))
    }

    /// A read from orchd's own paths, which carry no Docker API version.
    pub fn get_orch(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, format!("/orch{path}"))
    }

    /// A write to orchd's own paths.
    pub fn post_orch(&self, path: &str) -> Call<'_> {
        self.call(Method::POST, format!("/orch{path}"))
    }

    fn call(&self, method: Method, target: String) -> Call<'_> {
        Call {
            host: &self.host,
            method,
            target,
            body: None,
        }
    }
}

impl Call<'_> {
    /// Adds a query parameter.
    pub fn query(mut self, key: &str, value: &str) -> Self {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        self.target.push(separator);
        self.target.push_str(&format!("{key}={}", segment(value)));
        self
    }

    /// Sets the JSON body.
    pub fn body(mut self, value: &impl Serialize) -> Result<Self, Error> {
        let encoded = serde_json::to_vec(value).map_err(Error::Encode)?;
        self.body = Some(Bytes::from(encoded));
        Ok(self)
    }

    /// Sends, and decodes the answer.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let what = format!("{} {}", self.method, self.target);
        let text = self.text().await?;
        decode(&text).map_err(|source| Error::Decode { what, source })
    }

    /// Sends, and returns the answer as it came.
    pub async fn text(self) -> Result<String, Error> {
        let what = format!("{} {}", self.method, self.target);
        let body = self
            .stream()
            .await?
            .collect()
            .await
            .map_err(Error::Http)?
            .to_bytes();
        String::from_utf8(body.into()).map_err(|_| Error::NotText { what })
    }

    /// Sends, and ignores what a success says.
    pub async fn done(self) -> Result<(), Error> {
        self.text().await.map(|_| ())
    }

    /// Sends, and returns the body of a success while it is still coming.
    pub async fn stream(self) -> Result<Incoming, Error> {
        let response = self.send().await?;
        let status = response.status();
        if let Some(text) = response.headers().get(header::WARNING).and_then(warning) {
            output::diagnostic(&format!("Warning: {text}"));
        }
        if status.is_success() {
            return Ok(response.into_body());
        }
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(Error::Http)?
            .to_bytes();
        Err(daemon_error(status, &body))
    }

    async fn send(self) -> Result<Response<Incoming>, Error> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.target)
            .header(header::HOST, "orchd")
            .header(
                header::USER_AGENT,
                concat!("orchctl/", env!("CARGO_PKG_VERSION")),
            );
        if self.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(self.body.unwrap_or_default()))
            .map_err(Error::Request)?;
        match self.host {
            Host::Unix(path) => {
                let socket = UnixStream::connect(path).await;
                exchange(socket.map_err(|source| self.host.refused(source))?, request).await
            }
            Host::Tcp(address) => {
                let socket = TcpStream::connect(address).await;
                exchange(socket.map_err(|source| self.host.refused(source))?, request).await
            }
        }
    }
}

/// The text of a warning: `CODE AGENT "TEXT"` (RFC 7234 section 5.5).
fn warning(value: &header::HeaderValue) -> Option<&str> {
    let (_, text) = value.to_str().ok()?.split_once('"')?;
    Some(text.trim_end_matches('"'))
}

/// Decodes an answer. Go writes empty lists and maps as `null`; taking those for absent lets the
/// models say `default` and nothing else.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    let mut value: Value = serde_json::from_str(text)?;
    drop_nulls(&mut value);
    serde_json::from_value(value)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

async fn exchange<S>(socket: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket))
        .await
        .map_err(Error::Http)?;
    // The connection ends with its only response; its errors reach us through the body.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(Error::Http)
}

/// Docker's error shape is `{"message": ...}`; anything else is shown as it came.
fn daemon_error(status: StatusCode, body: &[u8]) -> Error {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let message = match serde_json::from_slice::<Message>(body) {
        Ok(Message { message }) if !message.is_empty() => message,
        _ => match String::from_utf8_lossy(body).trim() {
            "" => status.to_string(),
            text => text.to_owned(),
        },
    };
    Error::Daemon { status, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_escaped() {
        let client = Client::new(Host::parse("unix:///nowhere").unwrap());
        let call = client
            .get(&format!("/services/{}", segment("a/../b?c")))
            .query("filters", r#"{"a":1}"#)
            .query("status", "true");
        assert_eq!(
            call.target,
            "/v1.51/services/a%2F..%2Fb%3Fc?filters=%7B%22a%22%3A1%7D&status=true"
        );
    }

    #[test]
    fn errors_carry_the_daemons_own_words() {
        let words = |body: &[u8]| daemon_error(StatusCode::NOT_FOUND, body).to_string();
        assert_eq!(
            words(br#"{"message":"service x not found"}"#),
            "Error response from daemon: service x not found"
        );
        assert_eq!(
            words(b"page not found\n"),
            "Error response from daemon: page not found"
        );
        assert_eq!(words(b""), "Error response from daemon: 404 Not Found");
    }
}
