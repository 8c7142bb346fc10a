//! Archives as people's tools make them go live, whatever they are odd in; and what lies in them is served as it was.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use world::{Agent, Site, World};

use crate::{SOON, serving};

/// A folder with what tells tools apart: names beyond ASCII, an empty file, one that does not compress, folders, hidden files.
fn folder(title: &str) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let put = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, content).expect("a file");
    };
    put("index.html", format!("<!doctype html><title>{title}</title>").as_bytes());
    put("about/index.html", &b"about us, and more about us\n".repeat(500));
    put("größe/übersicht.html", "Übersicht".as_bytes());
    put("empty.txt", b"");
    put("noise.bin", &(0..70_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>());
    put(".well-known/security.txt", b"Contact: mailto:security@example.org\n");
    folder
}

fn tool(name: &str) -> PathBuf {
    World::tool(&format!("archivers/bin/{name}"))
}

fn python(script: &str) -> Command {
    let mut command = Command::new(World::tool("python/bin/python"));
    command.args(["-c", script]);
    command
}

/// Python's `zipfile`, with that way to write one entry.
fn zipfile(entry: &str) -> Command {
    python(&format!(
        "import io, os, sys, zipfile\n\
         class Stream(io.RawIOBase):\n    \
             # Nothing that can be sought in: sizes come after the data.\n    \
             def __init__(self, file): self.file = file\n    \
             def writable(self): return True\n    \
             def write(self, data): return self.file.write(data)\n\
         def walk():\n    \
             for folder, _, names in sorted(os.walk('.')):\n        \
                 for name in names: yield os.path.relpath(os.path.join(folder, name), '.')\n\
         {entry}\n"
    ))
}

/// A line of shell that finds the program as `$0`, the archive's place as `$1` and the folder as `$2`.
fn piped(line: &str, program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]).arg(program);
    command
}

/// What makes an archive `$OUT` of the folder that it is started in.
fn tools() -> Vec<(&'static str, Command)> {
    let with = |program: PathBuf, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments);
        command
    };
    let out = "sys.argv[1]";
    let plain =
        format!("z = zipfile.ZipFile({out}, 'w', zipfile.ZIP_DEFLATED)\nfor n in walk(): z.write(n)\nz.close()");
    let zip64 = format!(
        "z = zipfile.ZipFile({out}, 'w', zipfile.ZIP_DEFLATED)\n\
         for n in walk():\n    with z.open(n, 'w', force_zip64=True) as e: e.write(open(n, 'rb').read())\nz.close()"
    );
    let stream = format!(
        "f = open({out}, 'wb')\nz = zipfile.ZipFile(Stream(f), 'w', zipfile.ZIP_DEFLATED)\n\
         for n in walk(): z.write(n)\nz.close()\nf.close()"
    );
    let noted = format!(
        "z = zipfile.ZipFile({out}, 'w', zipfile.ZIP_STORED)\nfor n in walk(): z.write(n, './' + n)\n\
         z.comment = b'made by hand' * 100\nz.close()"
    );
    let behind = format!(
        "f = open({out}, 'wb')\nf.write(b'#!/bin/sh\\n' * 50)\nz = zipfile.ZipFile(f, 'a', zipfile.ZIP_DEFLATED)\n\
         for n in walk(): z.write(n)\nz.close()\nf.close()"
    );
    // Python has no way to write such a name; it is changed in place, in both headers.
    let legacy = format!(
        "z = zipfile.ZipFile({out}, 'w', zipfile.ZIP_STORED)\n\
         for n in walk(): z.write(n)\nz.writestr('cafX.html', 'coffee')\nz.close()\n\
         b = open({out}, 'rb').read().replace(b'cafX.html', b'caf\\x82.html')\nopen({out}, 'wb').write(b)"
    );
    let made = format!("import shutil\nshutil.make_archive({out}[:-4], 'zip', '.')");
    vec![
        ("zip -r", with(tool("zip"), &["-q", "-r"])),
        ("zip -9 -X -r", with(tool("zip"), &["-q", "-9", "-X", "-r"])),
        ("zip -0 -r", with(tool("zip"), &["-q", "-0", "-r"])),
        ("zip -r -fz, Zip64 where it is not needed", with(tool("zip"), &["-q", "-r", "-fz"])),
        ("7zz a", with(tool("7zz"), &["a", "-bd", "-bso0", "-tzip"])),
        ("7zz a -mx=9", with(tool("7zz"), &["a", "-bd", "-bso0", "-tzip", "-mx=9"])),
        ("bsdtar -a -cf", with(tool("bsdtar"), &["-a", "-cf"])),
        (
            "bsdtar, each entry stored",
            with(tool("bsdtar"), &["--format=zip", "--options=zip:compression=store", "-cf"]),
        ),
        (
            "bsdtar into a pipe, which fills its last block with zeros",
            piped("\"$0\" --format zip -cf - \"$2\" | cat >\"$1\"", &tool("bsdtar")),
        ),
        ("bsdtar, Zip64", with(tool("bsdtar"), &["--format=zip", "--options=zip:zip64", "-cf"])),
        ("Python's zipfile", zipfile(&plain)),
        ("Python's zipfile, Zip64", zipfile(&zip64)),
        ("Python's zipfile into a pipe", zipfile(&stream)),
        ("Python's zipfile, names with ./ and a comment", zipfile(&noted)),
        ("Python's zipfile behind a script", zipfile(&behind)),
        ("Python's zipfile, a name in code page 437", zipfile(&legacy)),
        ("Python's shutil", zipfile(&made)),
    ]
}

/// The archive that the tool makes of `folder`.
fn archive(what: &str, mut tool: Command, folder: &Path) -> Vec<u8> {
    let place = TempDir::new().expect("a temporary folder");
    let out = place.path().join("site.zip");
    let ran = tool.current_dir(folder).arg(&out).arg(".").output().expect("the tool starts");
    assert!(
        ran.status.success(),
        "{what}: {}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    fs::read(&out).unwrap_or_else(|error| panic!("{what}: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archives_of_every_tool_go_live_and_are_served_as_they_were() {
    let (instance, visitor, mut agent) = serving(&Site::titled("before")).await;
    for (number, (what, tool)) in tools().into_iter().enumerate() {
        let title = format!("archive {number}");
        let folder = folder(&title);
        instance.account.put("site-latest.zip", archive(what, tool, folder.path())).await;
        let shown = async |_: &Agent| crate::front(&visitor).await.is_some_and(|page| page.contains(&title));
        agent.wait_for(what, SOON, shown).await;
        for (path, file) in [
            ("/about/", "about/index.html"),
            ("/gr%C3%B6%C3%9Fe/%C3%BCbersicht.html", "größe/übersicht.html"),
            ("/empty.txt", "empty.txt"),
            ("/noise.bin", "noise.bin"),
            ("/.well-known/security.txt", ".well-known/security.txt"),
        ] {
            let answer = visitor.get(path).await.expect("an answer");
            assert_eq!(answer.status, 200, "{what}: {path}");
            let content = fs::read(folder.path().join(file)).expect("the file");
            assert!(answer.body[..] == content[..], "{what}: {path} has {} bytes", answer.body.len());
        }
        let cafe = visitor.get("/caf%C3%A9").await.expect("an answer");
        assert_eq!(cafe.status == 200, what.contains("code page 437"), "{what}");
    }
}
