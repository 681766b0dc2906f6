//! What handlers take from a request: query parameters and JSON bodies, with Docker's errors.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Query};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use super::error::ApiError;

/// Larger than any spec that the store takes.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// The query of a request.
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// The value of a parameter; empty when it is not given.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A switch, as Docker reads it: anything but a word for "no" is yes.
    pub fn flag(&self, name: &str) -> bool {
        let value = self.text(name).trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// The version of `kind` that an update is based on.
    pub fn version(&self, kind: &str) -> Result<u64, ApiError> {
        let text = self.text("version");
        text.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "invalid {kind} version '{text}': give the Version.Index that was read last"
            ))
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::bad_request(format!("invalid query: {error}")))?;
        Ok(Self(query.0))
    }
}

/// A JSON body that must be there.
pub struct JsonBody(pub Value);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, ApiError> {
        check_content_type(&request)?;
        parse(&read(request.into_body()).await?).map(Self)
    }
}

/// Reads a request body as a whole.
pub async fn read(body: Body) -> Result<Bytes, ApiError> {
    let read = Limited::new(body, BODY_LIMIT).collect().await;
    let body = read.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request body is larger than {BODY_LIMIT} bytes"),
        ),
        None => ApiError::bad_request(format!("cannot read the request body: {error}")),
    })?;
    Ok(body.to_bytes())
}

/// Parses a request body, which must be one JSON object.
pub fn parse(body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad_request(
            "invalid JSON: got EOF while reading request body",
        ));
    }
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(ApiError::bad_request(
            "invalid JSON: the request body must be an object",
        )),
        Err(error) => Err(ApiError::bad_request(format!("invalid JSON: {error}"))),
    }
}

fn check_content_type(request: &Request<Body>) -> Result<(), ApiError> {
    let Some(value) = request.headers().get(CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or_default();
    let media_type = text.split(';').next().unwrap_or_default().trim();
    if media_type.is_empty() || media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "unsupported Content-Type header ({text}): must be 'application/json'"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        let uri = format!("/x?{query}").parse().unwrap();
        Params(Query::try_from_uri(&uri).unwrap().0)
    }

    #[test]
    fn switches_are_read_as_docker_reads_them() {
        for (query, expected) in [
            ("force=1", true),
            ("force=true", true),
            ("force=0", false),
            ("force=False", false),
            ("force=", false),
            ("", false),
            ("force=yes", true),
        ] {
            assert_eq!(params(query).flag("force"), expected, "{query}");
        }
    }

    #[test]
    fn a_version_must_be_a_number() {
        assert_eq!(params("version=17").version("service"), Ok(17));
        assert_eq!(params("").version("service").unwrap_err().status(), 400);
        assert_eq!(
            params("version=-1")
                .version("service")
                .unwrap_err()
                .status(),
            400
        );
    }

    #[tokio::test]
    async fn a_body_has_its_limit() {
        let body = |length| Body::from(vec![b' '; length]);
        assert_eq!(read(body(BODY_LIMIT)).await.unwrap().len(), BODY_LIMIT);
        let error = read(body(BODY_LIMIT + 1)).await.unwrap_err();
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn a_body_must_be_one_json_object() {
        assert!(parse(b"{}").is_ok());
        for bad in [&b""[..], b"{", b"[]", b"{} {}", b"null", b"\"x\""] {
            assert_eq!(parse(bad).unwrap_err().status(), 400);
        }
    }
}
