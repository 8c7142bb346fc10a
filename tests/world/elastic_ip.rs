//! An Elastic IP: an address that is the instance's to which EC2 says that it leads, and of no other.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

use crate::{Account, Imds, Instance, address};

/// How often EC2 is asked where it leads.
const LOOK: Duration = Duration::from_millis(50);

/// An Elastic IP of an account. Connections to it go to the instance that it leads to; when it moves they break, as they do
/// on EC2. An instance is told its public address accordingly.
#[derive(Debug)]
pub struct ElasticIp {
    /// Its allocation id.
    pub id: String,
    /// The address.
    pub address: IpAddr,
    account: Account,
    state: Arc<Mutex<State>>,
    _running: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The instances that it may lead to, and the address each has without it.
    machines: HashMap<String, (Imds, IpAddr, bool)>,
    leads_to: Option<String>,
    connections: Vec<AbortHandle>,
}

impl ElasticIp {
    /// Allocates one, whose ports are those of `instance`, and of its successors.
    ///
    /// # Panics
    /// When its ports are taken.
    pub async fn allocate(instance: &Instance) -> ElasticIp {
        let account = instance.account.clone();
        let ip = address::own_address();
        let id = account.ask("allocate", &[("ip", &ip.to_string())], Bytes::new()).await;
        let id = id.as_str().expect("an id").to_owned();
        let state: Arc<Mutex<State>> = Arc::default();
        let mut running = JoinSet::new();
        let (http, https) = instance.ports();
        for port in [http, https] {
            let listener = TcpListener::bind((ip, port)).await.expect("a port of an address of its own");
            running.spawn(relay(listener, port, state.clone()));
        }
        running.spawn(follow(account.clone(), id.clone(), ip, state.clone()));
        ElasticIp { id, address: ip, account, state, _running: running }
    }

    /// Makes known an instance that it may lead to. Without it the instance has its own public address, or none.
    pub fn knows(&self, instance: &mut Instance, has_its_own: bool) {
        let mut address = toml::Table::new();
        address.insert("elastic_ip".to_owned(), self.id.clone().into());
        instance.configuration.insert("address".to_owned(), address.into());
        instance.imds.set_private_ipv4(instance.address);
        instance.imds.set_public_ipv4(has_its_own.then_some(instance.address));
        let machine = (instance.imds.clone(), instance.address, has_its_own);
        lock(&self.state).machines.insert(instance.imds.instance_id().to_owned(), machine);
    }

    /// Where it leads, as EC2 has it.
    pub async fn leads_to(&self) -> Option<String> {
        let to = self.account.ask("associated", &[("allocation", &self.id)], Bytes::new()).await;
        to.as_str().map(str::to_owned)
    }

    /// Leads it to an instance, or to none, by hand.
    pub async fn associate(&self, instance: Option<&str>) {
        let query = [("allocation", &*self.id), ("instance", instance.unwrap_or_default())];
        self.account.ask("associate", &query, Bytes::new()).await;
    }
}

async fn follow(account: Account, id: String, ip: IpAddr, state: Arc<Mutex<State>>) {
    loop {
        let to = account.ask("associated", &[("allocation", &id)], Bytes::new()).await;
        lock(&state).moved_to(to.as_str(), ip);
        tokio::time::sleep(LOOK).await;
    }
}

impl State {
    fn moved_to(&mut self, to: Option<&str>, ip: IpAddr) {
        if self.leads_to.as_deref() == to {
            return;
        }
        self.connections.drain(..).for_each(|connection| connection.abort());
        if let Some((imds, own, has_its_own)) = self.leads_to.as_ref().and_then(|old| self.machines.get(old)) {
            imds.set_public_ipv4(has_its_own.then_some(*own));
        }
        self.leads_to = to.map(str::to_owned);
        if let Some((imds, ..)) = to.and_then(|new| self.machines.get(new)) {
            imds.set_public_ipv4(Some(ip));
        }
    }
}

/// Passes connections on; where it leads nowhere they are ended at once.
async fn relay(listener: TcpListener, port: u16, state: Arc<Mutex<State>>) {
    while let Ok((mut from, _)) = listener.accept().await {
        let mut state = lock(&state);
        let leads_to = state.leads_to.as_ref().and_then(|to| state.machines.get(to)).map(|(_, own, _)| *own);
        let Some(own) = leads_to else { continue };
        let passing = tokio::spawn(async move {
            if let Ok(mut to) = TcpStream::connect((own, port)).await {
                let _ = copy_bidirectional(&mut from, &mut to).await;
            }
        });
        state.connections.push(passing.abort_handle());
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no test panics while it holds this")
}
