//! `endpoint.json` in the data directory: how the operator's command line reaches the running stack, and with which parameters
//! it runs.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::secret::{Endpoints, KEY, REGION, Secret};

/// The file. It is removed with its value.
#[derive(Debug)]
pub(crate) struct EndpointFile(PathBuf);

impl EndpointFile {
    /// Writes the file, whole or not at all, so that only its owner can read it. It holds the secret of the run.
    pub(crate) fn write(
        directory: &Path,
        endpoints: &Endpoints,
        secret: &Secret,
        parameters: &BTreeMap<String, String>,
    ) -> std::io::Result<Self> {
        let content = json!({
            "endpoint": endpoints.dynamodb,
            "lambda_endpoint": endpoints.lambda,
            "parameters": parameters,
            "region": REGION,
            "access_key_id": KEY,
            "secret_access_key": KEY,
            "session_token": secret.reveal(),
        });
        let path = directory.join("endpoint.json");
        let half_written = directory.join("endpoint.json.new");
        // One that a killed run has left may have another mode, or be a link to elsewhere.
        if let Err(error) = std::fs::remove_file(&half_written)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut new = create_private(&half_written)?;
        new.write_all(format!("{content:#}\n").as_bytes())?;
        new.sync_all()?;
        std::fs::rename(half_written, &path)?;
        Ok(Self(path))
    }
}

impl Drop for EndpointFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, file = %self.0.display(), "the endpoint's file could not be removed");
        }
    }
}

/// A new file of mode 0600 from its beginning.
fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
