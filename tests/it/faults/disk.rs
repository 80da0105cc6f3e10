//! A disk that is full for a while.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::Options;

use super::MANY_VERSIONS;
use crate::support::stream::{append, log, options, records};
use crate::support::{Place, assert_clean, bronze_records};

const SOON: Duration = Duration::from_secs(30);

/// A file system of a few megabytes.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> SmallDisk {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=777");
        as_root(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs"], folder.path());
        SmallDisk { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes it larger.
    fn grow(&self, size: &str) {
        as_root(&["mount", "-o", &format!("remount,size={size}")], self.folder.path());
    }

    /// Writes until nothing fits any more.
    fn fill(&self) -> PathBuf {
        let path = self.path("filler");
        let mut file = File::create(&path).unwrap();
        let mut block = vec![1_u8; 1 << 20];
        while !block.is_empty() {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    block.truncate(block.len() / 2);
                }
                Err(error) => panic!("{error}"),
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        as_root(&["umount", "--lazy"], self.folder.path());
    }
}

/// Runs a command as root, through `sudo` where the test is not.
fn as_root(words: &[&str], path: &Path) {
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    let is_root = String::from_utf8_lossy(&id).trim() == "0";
    let sudo: &[&str] = if is_root { &[] } else { &["sudo", "-n"] };
    let all: Vec<&str> = sudo.iter().chain(words).copied().collect();
    let status = Command::new(all[0]).args(&all[1..]).arg(path).status().unwrap();
    assert!(status.success(), "{all:?} {} failed", path.display());
}

#[test]
fn a_full_disk_is_waited_out() {
    let disk = SmallDisk::mount("24m");
    let place = Place::new().with_lake(disk.path("lake"));
    place.configure_files(MANY_VERSIONS);
    let records = records(&options(71, 4_000));
    let produced = log(&records);
    let input = place.path("input/a.ndjson");
    append(&input, &records[..1_000]);
    let mut run = place.start(&["run"]);
    let lake = place.lake();
    let mut due = 1_000;
    for part in records[1_000..].chunks(1_000) {
        run.wait_while_running("bronze has all", SOON, |_| bronze_records(lake) == due);
        let filler = disk.fill();
        let said = run.log().matches("every second").count();
        append(&input, part);
        run.wait_while_running("it says that it waits", SOON, |run| {
            run.log().matches("every second").count() > said
        });
        std::thread::sleep(Duration::from_secs(2));
        assert!(run.is_running(), "{}", run.log());
        let held = harness::audit::audit(lake, None).unwrap();
        assert!(held.is_clean(), "readable and whole while the disk is full: {held:?}");
        std::fs::remove_file(filler).unwrap();
        due += 1_000;
    }
    let took = run.wait_while_running("it goes on", SOON, |_| bronze_records(lake) == due);
    assert!(took < Duration::from_secs(10), "{took:?}");
    run.stops();
    assert_clean(lake, Some(&produced), &Options::default());
    place.succeeds(&["verify"]);
}

#[test]
fn a_process_killed_on_a_full_disk_starts_again() {
    let disk = SmallDisk::mount("24m");
    let place = Place::new().with_lake(disk.path("lake"));
    place.configure_files(MANY_VERSIONS);
    let records = records(&options(72, 2_000));
    let input = place.path("input/a.ndjson");
    append(&input, &records[..1_000]);
    let mut run = place.start(&["run"]);
    let lake = place.lake();
    run.wait_while_running("bronze has all", SOON, |_| bronze_records(lake) == 1_000);
    let filler = disk.fill();
    append(&input, &records[1_000..]);
    run.wait_for("every second", SOON);
    run.kill();
    std::fs::remove_file(filler).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert_clean(lake, Some(&log(&records)), &Options::default());
    place.succeeds(&["verify"]);
}

#[test]
fn a_ledger_on_a_full_disk_has_no_hole_afterwards() {
    let disk = SmallDisk::mount("8k");
    let place = Place::new();
    let ledger = disk.path("ledger");
    let settings = "epoch.max_records = 20\nlake.flush_interval = \"30ms\"\n";
    place.configure_files(&format!("{settings}ledger.dir = \"{}\"\n", ledger.display()));
    let records = records(&options(73, 4_000));
    append(&place.path("input/a.ndjson"), &records);
    let mut run = place.start(&["run"]);
    run.wait_for("could not write the ledger", SOON);
    // Several tries, so that more than one write is cut short.
    std::thread::sleep(Duration::from_secs(3));
    assert!(bronze_records(place.lake()) < 4_000, "it was full before the end");
    disk.grow("4m");
    let lake = place.lake();
    run.wait_while_running("it goes on", SOON, |_| bronze_records(lake) == 4_000);
    run.kill();
    let again = place.succeeds(&["run", "--until-end"]);
    assert!(!again.stderr.contains("the ledger is not used"), "{}", again.stderr);
    assert_clean(place.lake(), Some(&log(&records)), &Options::default());
    place.succeeds(&["verify"]);
}
