//! What native code is built for.

use std::fmt;

use object::{Endianness, FileKind, elf, read::elf::FileHeader as _};

/// How many bytes of a file tell what it is built for.
pub(crate) const HEAD: u64 = 512;

/// A machine that hosts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

/// What a file of native code is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NativeTarget {
    /// Linux of 64 bits, on that machine.
    Linux(Architecture),
    /// A system of 64 bits with ELF, on a machine that no host is: its `e_machine`.
    OtherMachine(u16),
    /// A system of 32 bits with ELF.
    Bits32,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

impl NativeTarget {
    /// What a file is built for whose first [`HEAD`] bytes, or all it has, are `head`; none where it is no native code.
    ///
    /// # Errors
    /// What is wrong with its ELF header.
    pub(crate) fn of(head: &[u8]) -> Result<Option<NativeTarget>, String> {
        if head.starts_with(b"MZ") {
            return Ok(Some(NativeTarget::Windows));
        }
        match FileKind::parse(head) {
            Ok(FileKind::Elf64) => {}
            Ok(FileKind::Elf32) => return Ok(Some(NativeTarget::Bits32)),
            Ok(FileKind::MachO32 | FileKind::MachO64 | FileKind::MachOFat32 | FileKind::MachOFat64) => {
                return Ok(Some(NativeTarget::MacOs));
            }
            Ok(_) | Err(_) => return Ok(None),
        }
        let header =
            elf::FileHeader64::<Endianness>::parse(head).map_err(|_| "its ELF header is cut short".to_owned())?;
        let endian = header.endian().map_err(|error| error.to_string())?;
        Ok(Some(match header.e_machine.get(endian) {
            elf::EM_X86_64 => NativeTarget::Linux(Architecture::X86_64),
            elf::EM_AARCH64 => NativeTarget::Linux(Architecture::Aarch64),
            other => NativeTarget::OtherMachine(other.0),
        }))
    }
}

impl fmt::Display for NativeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NativeTarget::Linux(machine) => f.write_str(machine.name()),
            NativeTarget::OtherMachine(number) => write!(f, "another machine (ELF e_machine {number})"),
            NativeTarget::Bits32 => f.write_str("32 bits"),
            NativeTarget::MacOs => f.write_str("macOS"),
            NativeTarget::Windows => f.write_str("Windows"),
        }
    }
}

impl Architecture {
    /// Its name, as `uname -m` prints it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86_64",
            Architecture::Aarch64 => "aarch64",
        }
    }

    /// Whether this host is of it.
    pub(super) fn is_this(self) -> bool {
        self.name() == std::env::consts::ARCH
    }
}
