//! Secrets and configs: this version has none, and says so.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;

/// `GET /secrets`, `GET /configs`.
pub async fn list_none(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    api.manager()?;
    Ok(Json(json!([])))
}

/// Everything else about them.
pub async fn unsupported(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    api.manager()?;
    Err(ApiError::not_implemented(
        "secrets and configs are not supported yet",
    ))
}
