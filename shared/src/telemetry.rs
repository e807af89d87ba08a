//! Logs: one JSON object a line on standard output, where the Lambda service picks them up.
//!
//! A failure is logged once, where the answer is made ([`crate::runtime`]), with the request's id. Nothing secret and
//! no address is ever put into a log line: secrets have a redacted `Debug` and no `Display`.

use tracing::level_filters::LevelFilter;

/// Starts logging, from level `INFO`. Called once, first thing in `main`.
pub(crate) fn init() {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        // The Lambda service stamps each line.
        .without_time()
        .with_max_level(LevelFilter::INFO)
        .init();
}
