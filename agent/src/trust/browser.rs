//! The browsers that keep CAs of their own, and where.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::machine::Machine;

/// Programs of the family of Chromium, which all read one database.
const CHROMIUMS: [&str; 9] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "brave-browser",
    "microsoft-edge",
    "microsoft-edge-stable",
    "opera",
    "vivaldi",
];
/// The database of Chromium below a home: `docs/linux/cert_management.md` of its source.
const CHROMIUM: &str = ".pki/nssdb";
/// The same in a data folder (XDG Base Directory).
const CHROMIUM_DATA: &str = ".local/share/pki/nssdb";
/// The same in the home that a snap has.
const CHROMIUM_SNAP: &str = "snap/chromium/current/.pki/nssdb";
/// Homes that flatpaks have.
const FLATPAKS: &str = ".var/app";
/// Folders below a home with a folder for each profile of Firefox: its own, that since version 147, a snap's and a flatpak's.
const FIREFOX: [&str; 5] = [
    ".mozilla/firefox",
    ".config/mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/config/mozilla/firefox",
];
/// The file that makes a folder an NSS database.
const DATABASE: &str = "cert9.db";
/// Profiles or flatpaks in a folder, at most.
const MOST: usize = 256;

/// A browser of the person, with one database at least.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Browser {
    pub name: &'static str,
    /// Folders of its NSS databases. That of a Chromium that has never run is yet to be made.
    pub databases: Vec<PathBuf>,
}

/// The browsers of `machine` that keep CAs of their own.
pub(super) fn browsers(machine: &Machine) -> Vec<Browser> {
    let home = &machine.home;
    let mut chromium: Vec<PathBuf> = [CHROMIUM, CHROMIUM_DATA].map(|path| home.join(path)).to_vec();
    chromium.retain(|folder| is_database(folder));
    if chromium.is_empty() && CHROMIUMS.iter().any(|name| machine.program(name).is_some()) {
        chromium.push(home.join(CHROMIUM));
    }
    let flatpaks = folders(&home.join(FLATPAKS)).into_iter().map(|app| app.join(CHROMIUM));
    chromium.extend(flatpaks.chain([home.join(CHROMIUM_SNAP)]).filter(|folder| is_database(folder)));
    let profiles = FIREFOX.iter().flat_map(|profiles| folders(&home.join(profiles)));
    let firefox: Vec<PathBuf> = profiles.filter(|folder| is_database(folder)).collect();
    let all = [Browser { name: "Chromium", databases: chromium }, Browser { name: "Firefox", databases: firefox }];
    all.into_iter().filter(|browser| !browser.databases.is_empty()).collect()
}

/// Whether the folder holds an NSS database.
pub(super) fn is_database(folder: &Path) -> bool {
    folder.join(DATABASE).is_file()
}

/// The folders in `folder`, in the order of their names; none where it cannot be read.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = entries.flatten().take(MOST).map(|entry| entry.path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort_unstable();
    folders
}
