//! Tests of the module `run`.

use std::collections::BTreeMap;
use std::fs;

use super::*;

fn records(count: u32) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let record =
        |number: u32| (format!("key {number}").into_bytes(), number.to_le_bytes().to_vec());
    (0..count).map(record).chain([(Vec::new(), Vec::new())]).collect()
}

fn run_of(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Run {
    let all = records.iter().map(|(key, value)| (key.as_slice(), value.clone())).collect();
    Run::of(all, b"summary".to_vec()).unwrap()
}

fn check(run: &Run, records: &BTreeMap<Vec<u8>, Vec<u8>>) {
    for (key, value) in records {
        assert_eq!(run.get(key).unwrap().as_ref(), Some(value));
    }
    for number in 0..3_000_u32 {
        let key = format!("other {number}");
        assert_eq!(run.get(key.as_bytes()).unwrap(), None);
    }
    let mut found = Vec::new();
    for page in 0..run.pages() {
        let page = run.page(page).unwrap();
        found.extend(page.records().unwrap().iter().map(|(k, v)| (k.0.to_vec(), v.0.to_vec())));
    }
    assert!(found.is_sorted_by(|(a, _), (b, _)| rank(a) < rank(b)));
    assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), *records);
    assert_eq!((run.len(), run.summary()), (records.len() as u64, &b"summary"[..]));
}

#[test]
fn records_are_found_in_memory_on_disk_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    for count in [0, 1, 30, 2_000] {
        let records = records(count);
        let run = run_of(&records);
        check(&run, &records);
        assert_eq!(run.number(), None);
        let path = folder.path().join(format!("{count}.run"));
        let before = run.memory();
        let written = run.write(&path, 7).unwrap();
        assert_eq!(written, fs::metadata(&path).unwrap().len());
        assert!(run.memory() < before && run.number() == Some(7));
        assert_eq!(run.write(&path, 8).unwrap(), 0, "written once");
        check(&run, &records);
        check(&Run::open(&path, 7).unwrap(), &records);
        let copy = folder.path().join("copy.run");
        let copied = Run::create(&copy, 9, records.len(), |out| -> io::Result<_> {
            for page in 0..run.pages() {
                for (key, value) in run.page(page).unwrap().records().unwrap() {
                    out.push(key.0, value.0)?;
                }
            }
            Ok(run.summary().to_vec())
        });
        check(&copied.unwrap(), &records);
        assert_eq!(fs::read(&copy).unwrap(), fs::read(&path).unwrap());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5, "nothing staged is left");
}

#[test]
fn no_damage_gives_another_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.run");
    let records = records(60);
    run_of(&records).write(&path, 1).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(&path, &bytes).unwrap();
        let Ok(run) = Run::open(&path, 1) else {
            refused += 1;
            continue;
        };
        let mut is_seen = false;
        for (key, value) in &records {
            match run.get(key) {
                Ok(found) => assert_eq!(found.as_ref(), Some(value), "flip at {at}"),
                Err(RunError::Damaged { .. }) => is_seen = true,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(is_seen, "flip at {at}");
    }
    assert!(refused > 100, "{refused} footers");
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(Run::open(&path, 1).is_err(), "cut at {cut}");
    }
}
