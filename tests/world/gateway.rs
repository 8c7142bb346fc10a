//! The internet gateway before an instance: who asks its public address is led to it, until it is cut off.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// A gateway before one instance; no byte gets through once it is dropped.
#[derive(Debug)]
pub struct Gateway {
    cut: watch::Sender<bool>,
    _open: JoinSet<()>,
}

impl Gateway {
    /// Leads connections to `public` on to `private`.
    ///
    /// # Panics
    /// When the public address is taken.
    pub async fn open(public: SocketAddr, private: SocketAddr) -> Gateway {
        let listener = TcpListener::bind(public).await.expect("a free public address");
        let (cut, is_cut) = watch::channel(false);
        let mut open = JoinSet::new();
        open.spawn(lead(listener, private, is_cut));
        Gateway { cut, _open: open }
    }

    /// Cuts the instance off: no byte gets through any more, in connections there are and in new ones, without a word.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Lets visitors through again.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn lead(listener: TcpListener, private: SocketAddr, is_cut: watch::Receiver<bool>) {
    let mut led = JoinSet::new();
    loop {
        while led.try_join_next().is_some() {}
        let Ok((visitor, _)) = listener.accept().await else { continue };
        led.spawn(lead_one(visitor, private, is_cut.clone()));
    }
}

async fn lead_one(mut visitor: TcpStream, private: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    let through = async {
        if let Ok(mut host) = TcpStream::connect(private).await {
            let _ = copy_bidirectional(&mut visitor, &mut host).await;
        }
    };
    tokio::select! {
        biased;
        _ = is_cut.wait_for(|cut| *cut) => {}
        () = through => return,
    }
    // A network that leads nowhere is silent. Closing would say that somebody is there.
    let _ = is_cut.wait_for(|cut| !*cut).await;
}
