//! The status as a host leaves it in the bucket: of bounded size, and read by other versions of the program as far as they
//! understand it.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{LastFault, Part, PartPhase, PartStatus, Span, Status};

/// Bytes of a snapshot as JSON, beyond which more is left out.
const LARGEST: usize = 24 << 10;
/// What is left out, the first that is small enough; the last is so whatever the texts hold.
const SIZES: [Size; 3] = [
    Size { text: 500, notes: 3, boot: true },
    Size { text: 500, notes: 3, boot: false },
    Size { text: 100, notes: 0, boot: false },
];
/// Bytes of what is being done by which troubles are told apart, as much as every snapshot has.
const LEAST_TEXT: usize = 90;
/// A fault that one more try cured is no trouble.
const LEAST_TRIES: u32 = 2;

/// How much a snapshot holds.
#[derive(Clone, Copy)]
struct Size {
    /// Bytes of each text.
    text: usize,
    /// Notes of each part.
    notes: usize,
    /// Whether the timeline of the boot is in it.
    boot: bool,
}

/// A part that fails, and at what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    part: Part,
    phase: PartPhase,
    doing: String,
}

impl Status {
    /// The status as JSON, with texts of bounded length.
    pub fn snapshot(&self) -> Value {
        let mut snapshot = Value::Null;
        for size in SIZES {
            let parts = self.parts.iter().map(|part| size.shortened(part)).collect();
            let boot = if size.boot { self.boot.clone() } else { Vec::new() };
            // Its types hold nothing that JSON cannot.
            snapshot = serde_json::to_value(Status { parts, boot, ..self.clone() }).unwrap_or_default();
            if snapshot.to_string().len() <= LARGEST {
                break;
            }
        }
        snapshot
    }

    /// The status of a snapshot; none where it is of a version that tells it otherwise. Parts and stretches of the boot that only
    /// another version has are passed over.
    pub fn of_snapshot(snapshot: &Value) -> Option<Status> {
        let mut snapshot = snapshot.clone();
        keep_understood::<PartStatus>(snapshot.get_mut("parts"));
        keep_understood::<Span>(snapshot.get_mut("boot"));
        serde_json::from_value(snapshot).ok()
    }

    /// What fails, and goes on failing. How often and in which words does not make it another trouble. That it cannot be told is
    /// none of these.
    pub fn troubles(&self) -> Vec<Trouble> {
        let fails = |part: &&PartStatus| {
            matches!(part.phase, PartPhase::Degraded | PartPhase::Failing) && part.part != Part::Presence
        };
        let parts = self.parts.iter().filter(fails);
        let troubles = parts.filter_map(|part| {
            let fault = part.fault.as_ref().filter(|fault| fault.tries >= LEAST_TRIES)?;
            Some(Trouble { part: part.part, phase: part.phase, doing: cut(&fault.doing, LEAST_TEXT) })
        });
        troubles.collect()
    }
}

impl Size {
    /// The part with texts of that length, and with no more notes than the first few.
    fn shortened(self, part: &PartStatus) -> PartStatus {
        let cut = |text: &str| cut(text, self.text);
        let mut notes: Vec<String> = part.notes.iter().take(self.notes).map(|note| cut(note)).collect();
        if part.notes.len() > self.notes {
            notes.push(format!("and {} more", part.notes.len() - self.notes));
        }
        PartStatus {
            doing: part.doing.as_deref().map(cut),
            waits_for: part.waits_for.as_deref().map(cut),
            holds: part.holds.as_deref().map(cut),
            fault: part.fault.clone().map(|fault| LastFault {
                doing: cut(&fault.doing),
                said: cut(&fault.said),
                remedy: fault.remedy.as_deref().map(cut),
                ..fault
            }),
            notes,
            ..part.clone()
        }
    }
}

/// The text, or its beginning of at most so many bytes.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(bytes)])
}

fn keep_understood<T: DeserializeOwned>(values: Option<&mut Value>) {
    if let Some(Value::Array(values)) = values {
        values.retain(|value| T::deserialize(value).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::{fault::Fault, status::Board};

    const SOON: Duration = Duration::from_secs(9);

    #[test]
    fn snapshot_is_bounded_and_reads_back() {
        let board = Board::new("www.example.org");
        // The longest that a byte becomes in JSON.
        let long = "\u{1}".repeat(5000);
        let parts = [
            Part::Host,
            Part::Package,
            Part::Certificate,
            Part::Placeholder,
            Part::Listener,
            Part::Address,
            Part::Succession,
            Part::Presence,
            Part::Departure,
        ];
        for part in parts {
            let place = board.place(part, &parts);
            place.kept(&long, vec![long.clone(); 9], SOON);
            place.failed(&Fault::operator(long.clone(), &long, long.clone()), 3, SOON);
        }
        let snapshot = board.watch().borrow().snapshot();
        let size = snapshot.to_string().len();
        assert!(size < 60 << 10, "a document with it has to have less than 64 KiB: {size}");
        assert_eq!(cut("\u{1f980}\u{1f980}", 7), "\u{1f980}…");
        let status = Status::of_snapshot(&snapshot).expect("it reads");
        assert_eq!((status.parts.len(), status.parts[0].notes.last().map(String::as_str)), (9, Some("and 9 more")));
        assert_eq!(status.troubles(), board.watch().borrow().troubles(), "what is cut is no other trouble");
    }

    #[test]
    fn parts_of_another_version_are_passed_over() {
        let board = Board::new("www.example.org");
        board.place(Part::Package, &[]).kept("site.zip", Vec::new(), SOON);
        let mut snapshot = board.watch().borrow().snapshot();
        snapshot["mood"] = json!("good");
        snapshot["parts"].as_array_mut().expect("parts").push(json!({ "part": "oracle" }));
        let read = Status::of_snapshot(&snapshot).expect("it reads");
        assert_eq!(read.parts.iter().map(|part| part.part).collect::<Vec<_>>(), [Part::Package]);
        for foreign in [json!(null), json!([]), json!("well"), json!({ "parts": [] })] {
            assert_eq!(Status::of_snapshot(&foreign), None, "{foreign}");
        }
    }

    #[test]
    fn trouble_is_a_part_that_goes_on_failing_in_whatever_words() {
        let board = Board::new("www.example.org");
        let package = board.place(Part::Package, &[]);
        let presence = board.place(Part::Presence, &[]);
        let troubles = || board.watch().borrow().troubles();
        package.failed(&Fault::retry("looking", "id 1"), 1, SOON);
        presence.failed(&Fault::retry("telling", "id 1"), 9, SOON);
        assert_eq!(troubles(), [], "one more try may cure it");
        package.failed(&Fault::retry("looking", "id 2"), 2, SOON);
        let failing = troubles();
        assert_eq!(failing.len(), 1);
        package.failed(&Fault::retry("looking", "id 3"), 7, SOON);
        assert_eq!(troubles(), failing, "the same again is no other trouble");
        package.failed(&Fault::retry("fetching", "id 3"), 7, SOON);
        assert_ne!(troubles(), failing);
        package.kept("site.zip", Vec::new(), SOON);
        assert_eq!(troubles(), []);
    }
}
