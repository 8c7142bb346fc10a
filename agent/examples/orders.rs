//! What 400 days at two boots a day cost at a CA with the limits of Let's Encrypt: with the vault, and with an order at
//! every boot. Both live through the same boots, on virtual time, with the real code of the vault.
//!
//! ```sh
//! cargo run --features model --example orders              # the comparison
//! cargo run --features model --example orders -- 5000      # so many rough histories, each of them checked
//! ```

use spothost::certificate::model::{History, Policy, Setting, live};

fn main() {
    match std::env::args().nth(1).map(|number| number.parse::<u64>()) {
        None => compare(),
        Some(Ok(number)) => check(number),
        Some(Err(error)) => panic!("how many histories: {error}"),
    }
}

fn compare() {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_header(["400 days, two boots a day", "the vault", "an order at every boot"]);
    let [ours, theirs] = [Policy::Vault, Policy::EveryBoot].map(|policy| live(Setting::quiet(policy), 1));
    let mut row = |what: &str, of: fn(&History) -> i64| {
        table.add_row([what.to_owned(), of(&ours).to_string(), of(&theirs).to_string()]);
    };
    row("boots", |history| history.boots.into());
    row("orders that the CA accepted", |history| history.orders.into());
    row("certificates that it issued", |history| history.certificates.into());
    row("refusals because of a limit", |history| history.touched.into());
    row("minutes without a valid certificate", |history| history.uncovered);
    println!("{table}");
}

fn check(histories: u64) {
    let (mut boots, mut certificates, mut broken) = (0_u64, 0_u64, 0_u64);
    for seed in 1..=histories {
        let setting = Setting::rough(Policy::Vault, seed);
        let history = live(setting, seed);
        boots += u64::from(history.boots);
        certificates += u64::from(history.certificates);
        if !history.broken.is_empty() || history.touched > 0 {
            broken += 1;
            println!("seed {seed}, {setting:?}: {history:#?}");
        }
    }
    println!("{histories} histories, {boots} boots, {certificates} certificates, {broken} with a rule broken");
    assert_eq!(broken, 0, "rules were broken");
}
