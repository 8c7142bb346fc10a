//! HTTP/2 floods (CVE-2023-44487, CVE-2024-27316, CVE-2025-8671, CVE-2019-9512 and others): a client that floods is let go or
//! held back, and everybody else is served as before.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    client::get,
    frames::{
        CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, connect, fields,
        frame,
    },
    package::Package,
    server::{DOMAIN, Server},
};

/// Sends what `make` makes of a counter until the server lets go, or for so many seconds; nothing is read. Meanwhile others are
/// served. Returns whether the server let go.
async fn flood(server: &Server, seconds: u64, make: impl Fn(u32) -> Vec<u8>) -> bool {
    let mut stream = connect(server).await;
    let attack = async {
        for count in 0.. {
            if stream.write_all(&make(count)).await.is_err() {
                return;
            }
        }
    };
    let mut attack = std::pin::pin!(timeout(Duration::from_secs(seconds), attack));
    let mut slowest = Duration::ZERO;
    loop {
        let probe = async {
            let begun = Instant::now();
            assert_eq!(get(server, "/about", &[]).await.status, 200);
            begun.elapsed()
        };
        tokio::select! {
            done = &mut attack => {
                assert!(slowest < Duration::from_secs(1), "others waited for {slowest:?}");
                return done.is_ok();
            }
            took = probe => slowest = slowest.max(took),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset_ends_the_connection() {
    let server = Server::start();
    let block = fields("/big.bin");
    let reset = |count: u32| {
        let stream = 1 + 2 * count;
        let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, stream, &block);
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    };
    assert!(flood(&server, 10, reset).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_that_the_server_is_made_to_send_end_the_connection() {
    let server = Server::start();
    let block = fields("/big.bin");
    // A window update of 0 is a stream error, which the server must answer with a reset (RFC 9113 §6.9).
    let made_you_reset = |count: u32| {
        let stream = 1 + 2 * count;
        let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, stream, &block);
        bytes.extend(frame(WINDOW_UPDATE, 0, stream, &[0; 4]));
        bytes
    };
    assert!(flood(&server, 10, made_you_reset).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_continuation_ends_the_connection() {
    let server = Server::start();
    let block = fields("/");
    let continuation = |count: u32| match count {
        0 => frame(HEADERS, END_STREAM, 1, &block),
        // A literal field without indexing, again and again.
        _ => frame(CONTINUATION, 0, 1, &[&[0, 1, b'x', 100][..], &[b'y'; 100]].concat().repeat(100)),
    };
    assert!(flood(&server, 10, continuation).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_block_that_unpacks_to_much_ends_the_connection() {
    let server = Server::start();
    // One large field into the dynamic table, then a reference to it, thousands of times.
    let bomb = |count: u32| {
        // The authority is not indexed, so that the large field stays the newest.
        let mut block = [&[0x82, 0x87, 0x84, 0x01, DOMAIN.len() as u8][..], DOMAIN.as_bytes()].concat();
        if count == 0 {
            block.extend([0x40, 1, b'x', 127, 0xa1, 0x1e]);
            block.extend([b'y'; 4000]);
        }
        block.extend([0xbe; 8000]);
        frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * count, &block)
    };
    assert!(flood(&server, 10, bomb).await);
    let counters = server.running().counters();
    assert_eq!(counters.responses(2), counters.requests(), "none of them was served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_settings_and_empty_frames_do_not_keep_others_from_being_served() {
    let server = Server::start();
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(100);
    flood(&server, 1, |count| frame(PING, 0, 0, &u64::from(count).to_be_bytes()).repeat(100)).await;
    flood(&server, 1, |_| settings.clone()).await;
    flood(&server, 1, |_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).repeat(100)).await;
    flood(&server, 1, |_| frame(0xee, 0, 0, &[]).repeat(100)).await;
}

/// Whether the server ends a connection on which 50 streams were opened and reset at once.
async fn ends_after_50_resets(resets: usize) -> bool {
    let server = Server::with(Package::example(), |settings| settings.bounds.resets = resets);
    let mut stream = connect(&server).await;
    let block = fields("/about");
    let mut bytes = Vec::new();
    for id in (1..100).step_by(2) {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, id, &block));
        bytes.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
    }
    stream.write_all(&bytes).await.unwrap();
    let to_the_end = async {
        let mut piece = [0; 4096];
        while stream.read(&mut piece).await.is_ok_and(|length| length > 0) {}
    };
    timeout(Duration::from_secs(3), to_the_end).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_many_resets_are_borne_is_a_setting() {
    assert!(ends_after_50_resets(5).await);
    assert!(!ends_after_50_resets(1_000).await);
}
