//! Who may read a group, and for how long there is one. That every reader reads it is in `matrix`, what goes to it in
//! `tshark`.

use std::process::Command;

use crate::island::Island;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::peers::output;
use crate::relay::eventually;
use crate::relay::kill;
use crate::relay::louver;
use crate::reload::pattern;
use crate::reload::user;
use crate::watch::Promise;
use crate::watch::Watch;

/// An island with a test picture that these users may see.
fn island_of(users: &[&str]) -> Island {
    let users: String = users.iter().map(|name| user(name, "secret")).collect();
    let picture = pattern("cam", 160);
    let auth = format!("[auth]\nrequired = \"always\"\n{users}");
    Island::start(&[], &format!("multicast = \"239.255.42.0/24\"\n{picture}{auth}"))
}

/// ffmpeg in there, reading as this user: one line per picture to `out`.
fn reading(island: &Island, user: &str, by: &str, pictures: &[&str], out: &str) -> Command {
    let url = island
        .url("cam")
        .replacen("://", &format!("://{user}:secret@"), 1);
    let mut cmd = ffmpeg::ffmpeg();
    cmd.args(["-rtsp_transport", by, "-i", &url, "-map", "0:v:0"]);
    cmd.args(pictures);
    cmd.args([
        "-vsync",
        "passthrough",
        "-flush_packets",
        "1",
        "-f",
        "framemd5",
        out,
    ]);
    island.enter(&cmd)
}

fn watch(island: &Island, user: &str) -> Watch {
    let watch = Watch::start(&format!("ffmpeg of {user}"), Promise::Run, |out| {
        reading(island, user, "udp_multicast", &[], out.to_str().unwrap())
    });
    sees_more(&watch);
    watch
}

fn sees_more(watch: &Watch) {
    let before = watch.seen().len();
    eventually("a second of pictures", || {
        (watch.seen().len() > before + 25).then_some(())
    });
}

/// Datagrams to groups that left while another reader got pictures by TCP: more than those that were there already.
fn to_groups_meanwhile(island: &Island) -> u64 {
    let before = to_groups(island);
    let by = Transport::Tcp.to_string();
    let mut cmd = reading(island, "eve", &by, &["-frames:v", "100"], "-");
    output("ffmpeg of eve", &mut cmd);
    to_groups(island) - before
}

/// Datagrams to groups that left so far, as the kernel counts them.
fn to_groups(island: &Island) -> u64 {
    let all = std::fs::read_to_string(format!("/proc/{}/net/netstat", island.pid())).unwrap();
    let mut lines = all.lines().filter_map(|l| l.strip_prefix("IpExt: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs.find(|(name, _)| *name == "OutMcastPkts").unwrap();
    value.parse().unwrap()
}

fn remove(island: &Island, name: &str) {
    let mut remove = louver();
    remove
        .args(["user", "remove", "--config"])
        .arg(island.config_file());
    assert!(remove.arg(name).status().unwrap().success());
    kill(island.pid(), "HUP");
}

/// Messages of ffmpeg that stay in the group leave now and then; so silence is waited for.
fn until_the_group_is_silent(island: &Island) {
    eventually("nothing goes to the group", || {
        (to_groups_meanwhile(island) == 0).then_some(())
    });
}

#[test]
fn a_user_who_is_removed_stops_watching_by_multicast_and_the_group_ends_with_the_last() {
    let island = island_of(&["anna", "bob", "eve"]);
    let (mut annas, mut bobs) = (watch(&island, "anna"), watch(&island, "bob"));
    remove(&island, "anna");
    annas.wait();
    sees_more(&bobs);
    assert!(to_groups_meanwhile(&island) >= 10);
    remove(&island, "bob");
    bobs.wait();
    until_the_group_is_silent(&island);
    let log = island.log();
    let told = log.matches("its user may not have it any more").count();
    assert_eq!(told, 2, "{log}");
    assert!(!log.contains("anna") && !log.contains("bob"), "{log}");
}

/// Whose connection is lost is waited for by a group that goes on; not when that user may not come back.
#[test]
fn a_group_is_not_kept_for_a_removed_user_whose_connection_was_lost() {
    let island = island_of(&["anna", "eve"]);
    drop(watch(&island, "anna"));
    assert!(to_groups_meanwhile(&island) >= 10, "she may come back");
    remove(&island, "anna");
    until_the_group_is_silent(&island);
}
