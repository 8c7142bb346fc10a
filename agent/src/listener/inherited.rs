//! Listeners that the parent process holds for the agent, as systemd does (`sd_listen_fds(3)`).
//!
//! They outlive the process: who comes while it is being started again waits in their queue and is not refused.

use std::{io, net::TcpListener};

use listenfd::ListenFd;

/// The listeners that were passed on to this process, if any were.
///
/// It takes them out of the environment, so it is called once, before there are threads.
///
/// # Errors
/// When one of them is no TCP socket.
pub fn inherited() -> io::Result<Vec<TcpListener>> {
    let mut passed = ListenFd::from_env();
    let each = 0..passed.len();
    each.filter_map(|index| passed.take_tcp_listener(index).transpose()).collect()
}
