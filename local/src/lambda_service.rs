//! The Lambda service's `Invoke`, as far as functions call each other: synchronously, by name.
//!
//! The name of a function on this machine is its logical id in the template, as `!Ref` gives it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use crate::functions::{Functions, WeakFunctions};

/// The endpoint. It answers 404 until the functions are deployed, which need its address to be composed.
#[derive(Clone, Debug, Default)]
pub(crate) struct LambdaService(Arc<OnceLock<Deployed>>);

#[derive(Debug)]
struct Deployed {
    /// Not kept alive: what they call each other by may lead here.
    functions: WeakFunctions,
    /// Folders by the name of their function.
    folders: BTreeMap<String, String>,
}

impl LambdaService {
    /// From now on it invokes these functions, found by name in `folders`.
    pub(crate) fn deploy(&self, functions: &Functions, folders: BTreeMap<String, String>) {
        let _ = self.0.set(Deployed { functions: functions.downgrade(), folders });
    }

    /// The endpoint's routes.
    pub(crate) fn router(&self) -> Router {
        Router::new().route("/2015-03-31/functions/{name}/invocations", post(invoke)).with_state(self.clone())
    }
}

async fn invoke(
    State(service): State<LambdaService>,
    Path(name): Path<String>,
    headers: HeaderMap,
    payload: Bytes,
) -> Response {
    let refused = |status: StatusCode, code: &'static str, message: String| {
        (status, [("x-amzn-errortype", code)], axum::Json(json!({"Message": message}))).into_response()
    };
    if headers.get("x-amz-invocation-type").is_some_and(|invocation| invocation != "RequestResponse") {
        let message = "functions are invoked synchronously here".to_owned();
        return refused(StatusCode::BAD_REQUEST, "InvalidParameterValueException", message);
    }
    let find = |all: &Deployed| Some((all.functions.upgrade()?, all.folders.get(&name)?.clone()));
    let Some((functions, folder)) = service.0.get().and_then(find) else {
        return refused(StatusCode::NOT_FOUND, "ResourceNotFoundException", format!("Function not found: {name}"));
    };
    let event = if payload.is_empty() { Ok(json!({})) } else { serde_json::from_slice::<Value>(&payload) };
    let Ok(event) = event else {
        let message = "Could not parse request body into json".to_owned();
        return refused(StatusCode::BAD_REQUEST, "InvalidRequestContentException", message);
    };
    match functions.invoke(&folder, event).await {
        Ok(answer) => (StatusCode::OK, axum::Json(answer)).into_response(),
        Err(error) => {
            let answer = json!({"errorType": "FunctionError", "errorMessage": error.to_string()});
            (StatusCode::OK, [("x-amz-function-error", "Unhandled")], axum::Json(answer)).into_response()
        }
    }
}
