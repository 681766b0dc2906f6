//! Images: is one there, and if not, get it.

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt as _;

use super::error::found;
use super::{CALL_TIMEOUT, Engine, EngineError, PULL_TIMEOUT};

impl Engine {
    /// Makes sure that the engine has an image. One that is there is not asked for again: which
    /// version a tag stands for is decided once, by the managers, who add the digest.
    pub async fn ensure_image(&self, reference: &str) -> Result<(), EngineError> {
        let docker = self.docker(CALL_TIMEOUT)?;
        let local = docker.inspect_image(reference).await;
        match found(local.map_err(self.error()))? {
            Some(_) => Ok(()),
            None => self.pull(reference).await,
        }
    }

    async fn pull(&self, reference: &str) -> Result<(), EngineError> {
        tracing::info!(image = reference, "pulling");
        let docker = self.docker(PULL_TIMEOUT)?;
        let options = CreateImageOptionsBuilder::new()
            .from_image(&one_image(reference))
            .build();
        let progress = docker
            .create_image(Some(options), None, None)
            .map_err(self.error());
        progress.try_for_each(|_| std::future::ready(Ok(()))).await
    }
}

/// A reference without a tag or digest stands for all tags when it is pulled, and for `latest`
/// everywhere else.
fn one_image(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    if name.contains([':', '@']) {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_reference_means_its_latest_tag() {
        for (reference, pulled) in [
            ("redis", "redis:latest"),
            ("redis:7", "redis:7"),
            ("localhost:5000/redis", "localhost:5000/redis:latest"),
            ("localhost:5000/redis:7", "localhost:5000/redis:7"),
            ("redis@sha256:00", "redis@sha256:00"),
        ] {
            assert_eq!(one_image(reference), pulled);
        }
    }
}
