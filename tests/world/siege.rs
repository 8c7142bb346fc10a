//! An owner whom strangers besiege, and a spare that would follow it.

use std::time::{Duration, Instant};

use crate::{Instance, Site, Strangers, eventually};

/// How long anything may take here that should take a moment; other tests share the machine.
const SOON: Duration = Duration::from_secs(60);
/// So many connections the owner may have, which the strangers use up.
const CONNECTIONS: usize = 48;

/// It is looked at so often at least, and so many streams are begun, however slow the machine is.
const LOOKS: usize = 20;
/// More than one client has open at once: both came for theirs, or the one came again.
const STREAMS: usize = 100;

/// What came of it.
#[derive(Debug, Default)]
pub struct Besieged {
    /// What the strangers did: streams of files to inflate, and connections.
    pub streams: usize,
    /// Connections that the strangers made.
    pub connections: usize,
    /// How often the owner's own account was looked at.
    pub looks: usize,
    /// What it said when it was not well.
    pub ills: Vec<String>,
    /// How often the claim changed hands.
    pub moves: usize,
}

/// Besieges an owner for that long.
pub async fn besieged(long: Duration) -> Besieged {
    let site = Site::titled("besieged").with("zeros.bin", vec![0; 8 << 20]);
    let mut first = Instance::new().await;
    first.account.put("site-latest.zip", site.zip()).await;
    settle(&mut first);
    let mut spare = first.start();
    spare.wait_until_serving(SOON).await;
    let mut second = first.successor().await;
    settle(&mut second);
    // They are there before it is.
    let strangers = Strangers::come(&second.visitor(), "/zeros.bin", 2 * CONNECTIONS);
    let mut owner = second.start();
    owner.wait_for("it owns the name", SOON, async |agent| agent.status()["role"] == "owner").await;
    owner.wait_until_serving(SOON).await;
    spare.wait_for("it stands by", SOON, async |agent| agent.status()["role"] == "superseded").await;

    let mut besieged = Besieged::default();
    eventually("they have what there is", SOON, async || strangers.did().1 > CONNECTIONS).await;
    let begun = Instant::now();
    let mut published = false;
    while begun.elapsed() < long || besieged.looks < LOOKS || strangers.did().0 < STREAMS {
        // What is looked for has to come within bounds, too.
        assert!(begun.elapsed() < long + 2 * SOON, "the strangers do too little: {:?}, {besieged:?}", strangers.did());
        if !published && begun.elapsed() > long / 4 {
            // After a swap a host asks itself at once.
            first.account.put("site-latest.zip", site.clone().with("more.txt", "more").zip()).await;
            published = true;
        }
        let status = owner.status();
        besieged.looks += 1;
        if status["phase"] != "serving" || status["role"] != "owner" {
            besieged.ills.push(format!("{} {}: {}", status["phase"], status["role"], owner.part("listener")["fault"]));
        }
        // The spare is superseded first, and stands by after a while.
        besieged.moves += usize::from(spare.status()["role"] == "owner" || !second.is_led_to().await);
        assert!(!owner.has_ended() && !spare.has_ended());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (besieged.streams, besieged.connections) = strangers.did();
    drop(strangers);
    let visitor = second.visitor();
    let answers = async || visitor.get("/").await.is_ok_and(|page| page.status == 200);
    eventually("visitors have the place again", SOON, answers).await;
    besieged
}

/// Looks often, has few connections, and is given up after three seconds of silence.
fn settle(instance: &mut Instance) {
    let more = format!(
        "[dns]\nttl = 1\n[look]\naddress = \"300ms\"\npackage = \"1s\"\ndeparture = \"1s\"\n\
         [succession]\nthen = \"stand-by\"\nsilence = \"3s\"\nlinger = \"12s\"\n\
         [limits]\nconnections = {CONNECTIONS}\n"
    );
    instance.configuration.extend(more.parse::<toml::Table>().expect("TOML"));
}
