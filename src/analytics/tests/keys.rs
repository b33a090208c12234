//! A2, A15: the key of the day, and what is made with it, is in no file: not while it is in use, not after.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// The key in every writing, and its halves.
fn forms(key: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = key.iter().map(|b| format!("{b:02x}")).collect();
    let reversed: Vec<u8> = key.iter().rev().copied().collect();
    vec![
        key[..16].to_vec(),
        key[16..].to_vec(),
        reversed[..16].to_vec(),
        hex[..32].to_uppercase().into_bytes(),
        hex[..32].to_owned().into_bytes(),
        hex[32..].to_owned().into_bytes(),
        STANDARD.encode(key)[..40].to_owned().into_bytes(),
        STANDARD.encode(&key[1..])[..40].to_owned().into_bytes(),
        STANDARD.encode(&key[2..])[..40].to_owned().into_bytes(),
    ]
}

#[tokio::test]
async fn a02_no_key_is_in_any_file_before_or_after_its_day_ends() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, "2026-11-19T12:00:00Z").await;
    let mut keys = Vec::new();
    for day in 0..4 {
        keys.push(rig.door.stolen_key());
        let session = rig.watch(7, VLC, "webcam");
        rig.pass(10).await;
        drop(session);
        // On the last day, right after the change; else the rest of the day.
        rig.pass(if day == 2 { 12 * 3600 } else { 24 * 3600 }).await;
        rig.door.wipe_when_over();
        for key in &keys {
            for form in forms(key) {
                assert!(!found(home.path(), &form), "a key is in a file on day {day}");
            }
        }
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 4, "each day had a key of its own");
    let key = rig.door.stolen_key();
    rig.stop().await;
    assert!(
        forms(&key).iter().all(|form| !found(home.path(), form)),
        "left at the end"
    );
    // The search would find it.
    fs::write(home.path().join("planted"), &key).unwrap();
    assert!(found(home.path(), &forms(&key)[0]));
}

/// There are no sketches of who was there either: files are no larger for many viewers than their rows are.
#[tokio::test]
async fn a15_what_is_found_again_by_the_key_is_in_memory_alone() {
    let home = Home::sqlite();
    let rig = Rig::start(&home, NOON).await;
    drop(rig.watch(1, VLC, "webcam"));
    rig.pass(1).await;
    let before = rig.door.map_bytes();
    assert!(before > 0);
    let names = || -> Vec<_> {
        let entries = fs::read_dir(home.path()).unwrap();
        entries.map(|e| e.unwrap().file_name()).collect()
    };
    let files = names().len();
    for n in 2..200_u8 {
        drop(rig.watch(n, VLC, "webcam"));
    }
    rig.pass(1).await;
    assert_eq!(names().len(), files, "no file is made for viewers");
    assert!(rig.door.map_bytes() > before && rig.door.viewers() == 199);
    rig.stop().await;
}
