//! What a file of native code asks of a host: its machine, and its glibc.

use std::{cell::Cell, fmt, io, ops::Range};

use object::{
    Endianness, elf,
    read::{ReadCache, ReadCacheOps, ReadRef, elf::FileHeader as _},
};

use crate::package::native_target::{HEAD, NativeTarget};

/// How many bytes of a file are read at most. The largest tables of sections have 4 MiB (65,535 of 64 bytes).
const MOST_READ: u64 = 8 << 20;
/// How many versions that a file asks for are looked at.
const MOST_VERSIONS: usize = 1_000;
/// How many bytes the name of a version is charged with: `object` reads no more of one.
const LONGEST_NAME: u64 = 4096;

/// What a file of native code asks of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NativeCode {
    /// What it is built for.
    pub(super) target: NativeTarget,
    /// The newest glibc that it asks for; none where it asks for none, or this cannot be told.
    pub(super) glibc: Option<Glibc>,
}

/// A version of glibc: its minor number. The major one has been 2 since 1997.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Glibc(pub(super) u16);

impl NativeCode {
    /// What `file` asks for; none where it is no native code, or cannot be read. At most [`MOST_READ`] bytes are read of it.
    pub(super) fn read(file: impl io::Read + io::Seek) -> Option<NativeCode> {
        let cache = ReadCache::new(file);
        let left = Cell::new(MOST_READ);
        let bytes = Bounded { cache: &cache, left: &left };
        let length = bytes.len().ok()?.min(HEAD);
        let target = NativeTarget::of(bytes.read_bytes_at(0, length).ok()?).ok()??;
        let glibc = match target {
            NativeTarget::Linux(_) => newest_glibc(bytes).unwrap_or_default(),
            NativeTarget::OtherMachine(_) | NativeTarget::Bits32 | NativeTarget::MacOs | NativeTarget::Windows => None,
        };
        Some(NativeCode { target, glibc })
    }
}

/// The newest glibc among the versions that an ELF file needs (`SHT_GNU_VERNEED`: Linux Standard Base, "Symbol Versioning").
fn newest_glibc<'a>(file: impl ReadRef<'a>) -> object::read::Result<Option<Glibc>> {
    let header = elf::FileHeader64::<Endianness>::parse(file)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, file)?;
    let Some((mut libraries, link)) = sections.gnu_verneed(endian, file)? else { return Ok(None) };
    let names = sections.strings(endian, file, link)?;
    let mut newest = None;
    let mut looked_at = 0;
    while let Some((_, mut versions)) = libraries.next()? {
        looked_at += 1;
        while let Some(version) = versions.next()? {
            looked_at += 1;
            if looked_at > MOST_VERSIONS {
                return Ok(newest);
            }
            // The loader only warns of a weak one that is missing.
            if !version.vna_flags.get(endian).contains(elf::VER_FLG_WEAK) {
                newest = newest.max(Glibc::named(version.name(endian, names)?));
            }
        }
    }
    Ok(newest)
}

impl Glibc {
    /// The version of glibc that the name of a version stands for; none where it stands for no version of glibc.
    fn named(name: &[u8]) -> Option<Glibc> {
        if name == b"GLIBC_ABI_DT_RELR" {
            return Some(Glibc(36));
        }
        let numbers = str::from_utf8(name.strip_prefix(b"GLIBC_2.")?).ok()?;
        numbers.split('.').next()?.parse().ok().map(Glibc)
    }
}

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}", self.0)
    }
}

/// A file of which only so many bytes are read, whatever its headers say.
struct Bounded<'a, R: ReadCacheOps> {
    cache: &'a ReadCache<R>,
    left: &'a Cell<u64>,
}

impl<R: ReadCacheOps> Bounded<'_, R> {
    fn charge(self, bytes: u64) -> Result<(), ()> {
        self.left.set(self.left.get().checked_sub(bytes).ok_or(())?);
        Ok(())
    }
}

impl<R: ReadCacheOps> Clone for Bounded<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: ReadCacheOps> Copy for Bounded<'_, R> {}

impl<'a, R: ReadCacheOps> ReadRef<'a> for Bounded<'a, R> {
    fn len(self) -> Result<u64, ()> {
        self.cache.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.charge(size)?;
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.charge(LONGEST_NAME)?;
        self.cache.read_bytes_at_until(range, delimiter)
    }
}

/// Files of native code, made for tests.
#[cfg(test)]
pub(super) mod made {
    /// `e_machine` of the machines that hosts are.
    pub(in crate::publish::doubts) const X86_64: u16 = 62;
    pub(in crate::publish::doubts) const AARCH64: u16 = 183;

    /// A shared object for Linux on that machine, which asks for these versions of libc.so.6: a header, the needed versions, their
    /// names, and the table of sections (System V ABI, chapter 4).
    pub(in crate::publish::doubts) fn shared_object(machine: u16, versions: &[&str]) -> Vec<u8> {
        let mut names = b"\0libc.so.6\0".to_vec();
        let mut needs = Vec::new();
        needs.extend([1_u16, versions.len() as u16].iter().flat_map(|half| half.to_le_bytes()));
        needs.extend([1_u32, 16, 0].iter().flat_map(|word| word.to_le_bytes()));
        for (number, version) in versions.iter().enumerate() {
            let next = if number + 1 < versions.len() { 16 } else { 0 };
            needs.extend(0_u32.to_le_bytes());
            needs.extend([0_u16, 2].iter().flat_map(|half| half.to_le_bytes()));
            needs.extend([names.len() as u32, next].iter().flat_map(|word| word.to_le_bytes()));
            names.extend(version.bytes().chain([0]));
        }
        let at_needs = 64_u64;
        let at_names = at_needs + needs.len() as u64;
        let at_sections = (at_names + names.len() as u64).next_multiple_of(8);
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
        file.resize(64, 0);
        file[16] = 3;
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[20] = 1;
        file[40..48].copy_from_slice(&at_sections.to_le_bytes());
        file[58..60].copy_from_slice(&64_u16.to_le_bytes());
        file[60..62].copy_from_slice(&3_u16.to_le_bytes());
        file[62..64].copy_from_slice(&2_u16.to_le_bytes());
        file.extend(&needs);
        file.extend(&names);
        file.resize(at_sections as usize + 64, 0);
        for (kind, at, length, link) in [(0x6fff_fffe_u32, at_needs, needs.len(), 2_u32), (3, at_names, names.len(), 0)]
        {
            let mut section = vec![0; 64];
            section[4..8].copy_from_slice(&kind.to_le_bytes());
            section[24..32].copy_from_slice(&at.to_le_bytes());
            section[32..40].copy_from_slice(&(length as u64).to_le_bytes());
            section[40..44].copy_from_slice(&link.to_le_bytes());
            file.extend(section);
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Cursor, Read, Seek, SeekFrom, Write as _},
    };

    use super::{
        made::{AARCH64, X86_64, shared_object},
        *,
    };
    use crate::package::native_target::Architecture;

    /// A file that counts what is read of it.
    struct Counted<'a, R> {
        file: R,
        read: &'a Cell<u64>,
    }

    impl<R: Read> Read for Counted<'_, R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.file.read(buffer)?;
            self.read.set(self.read.get() + read as u64);
            Ok(read)
        }
    }

    impl<R: Seek> Seek for Counted<'_, R> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.file.seek(to)
        }
    }

    #[test]
    fn machine_and_newest_glibc_of_a_shared_object_are_found() {
        let linux = NativeTarget::Linux;
        for (file, expected) in [
            (
                shared_object(X86_64, &["GLIBC_2.2.5", "GLIBC_2.38", "GLIBC_2.4"]),
                Some((linux(Architecture::X86_64), Some(38))),
            ),
            (shared_object(AARCH64, &["GLIBC_2.17"]), Some((linux(Architecture::Aarch64), Some(17)))),
            (
                shared_object(X86_64, &["GLIBC_ABI_DT_RELR", "GLIBC_2.34"]),
                Some((linux(Architecture::X86_64), Some(36))),
            ),
            (
                shared_object(X86_64, &["GLIBC_PRIVATE", "CXXABI_1.3", "GLIBC_2.", "GLIBC_2.x"]),
                Some((linux(Architecture::X86_64), None)),
            ),
            (shared_object(X86_64, &[]), Some((linux(Architecture::X86_64), None))),
            (shared_object(243, &["GLIBC_2.38"]), Some((NativeTarget::OtherMachine(243), None))),
            (shared_object(X86_64, &["GLIBC_2.38"])[..100].to_vec(), Some((linux(Architecture::X86_64), None))),
            (shared_object(X86_64, &["GLIBC_2.38"])[..40].to_vec(), None),
            (b"/* GNU ld script */ INPUT(libm.so.6)".to_vec(), None),
            (Vec::new(), None),
        ] {
            let found = NativeCode::read(Cursor::new(&file)).map(|code| (code.target, code.glibc.map(|glibc| glibc.0)));
            assert_eq!(found, expected, "{} bytes", file.len());
        }
    }

    #[test]
    fn own_program_is_read_as_the_linker_made_it() {
        let own = fs::File::open(std::env::current_exe().expect("known")).expect("readable");
        let read = Cell::new(0);
        let code = NativeCode::read(Counted { file: own, read: &read }).expect("native code");
        assert_eq!(code.target.to_string(), std::env::consts::ARCH);
        assert!(code.glibc.is_some_and(|glibc| glibc >= Glibc(28)), "{code:?}");
        assert!(read.get() < 64 << 10, "{} bytes were read", read.get());
    }

    #[test]
    fn gigabyte_whose_headers_claim_all_of_it_is_read_within_the_bound() {
        let mut file = tempfile::tempfile().expect("a file");
        let mut begin = shared_object(X86_64, &["GLIBC_2.38"]);
        let sections = u64::from_le_bytes(begin[40..48].try_into().expect("8 bytes")) as usize;
        // The first section says how many there are where the header says none: 16 million of 64 bytes.
        begin[60..62].copy_from_slice(&0_u16.to_le_bytes());
        begin[sections + 32..sections + 40].copy_from_slice(&(15_u64 << 20).to_le_bytes());
        file.write_all(&begin).expect("written");
        file.set_len(1 << 30).expect("lengthened");
        let read = Cell::new(0);
        let code = NativeCode::read(Counted { file: &file, read: &read }).expect("native code");
        assert_eq!((code.target, code.glibc), (NativeTarget::Linux(Architecture::X86_64), None));
        assert!(read.get() <= MOST_READ, "{} bytes were read", read.get());
    }

    #[test]
    fn drawn_bytes_are_read_within_the_bound() {
        let seed =
            std::env::var("SPOTHOST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        println!("SPOTHOST_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let good = shared_object(X86_64, &["GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_2.38"]);
        let mut told = 0;
        for _ in 0..20_000 {
            let mut bad = good.clone();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..bad.len());
                bad[at] = if random.bool() { random.u8(..) } else { 0xff };
            }
            if random.u8(0..4) == 0 {
                bad.truncate(random.usize(..bad.len()));
            }
            let read = Cell::new(0);
            let code = NativeCode::read(Counted { file: Cursor::new(&bad), read: &read });
            told += usize::from(code.is_some_and(|code| code.glibc == Some(Glibc(38))));
            assert!(read.get() <= MOST_READ, "{} bytes were read of {bad:?}", read.get());
        }
        assert!((1_000..19_000).contains(&told), "{told} of 20,000 still asked for 2.38");
    }

    #[test]
    fn versions_that_are_told_again_and_again_come_to_an_end() {
        let mut file = shared_object(X86_64, &["GLIBC_2.17"]);
        let sections = u64::from_le_bytes(file[40..48].try_into().expect("8 bytes")) as usize;
        // 65,536 libraries, each of which needs all the versions that follow: billions together.
        let needs: Vec<u8> = [1, 0, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0].repeat(1 << 16);
        let at = file.len() as u64;
        file[sections + 64 + 24..sections + 64 + 32].copy_from_slice(&at.to_le_bytes());
        file[sections + 64 + 32..sections + 64 + 40].copy_from_slice(&(needs.len() as u64).to_le_bytes());
        file.extend(needs);
        let begun = std::time::Instant::now();
        let code = NativeCode::read(Cursor::new(&file)).expect("native code");
        assert_eq!(code.glibc, None);
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
