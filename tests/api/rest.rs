//! The HTTP API as its transcripts have it: publishing, streams, and what is refused.
//!
//! The streams that a story must follow over several requests have files of their own beside this.

use crate::transcript::play_all;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_http_api_reads_as_its_transcripts() {
    play_all("rest").await;
}
