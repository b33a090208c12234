//! Readers behind a link that loses one frame in fifty and lets others come late, and behind a NAT.

use std::process::Command;

use crate::clips;
use crate::island::Island;
use crate::link::Link;
use crate::link::RELAY;
use crate::link::Sent;
use crate::link::Trouble;
use crate::matrix::reader_by;
use crate::peers::Peer;
use crate::privacy::ha1_md5;
use crate::privacy::ha1_sha256;
use crate::readme;
use crate::watch::Watch;
use crate::watch::until_all_have_seen;
use crate::watch::wait_for_all;
use crate::whole;

/// Three seconds.
const PICTURES: usize = 75;
/// A keyframe each second.
const GROUP: usize = 25;
/// Pictures a second.
const RATE: u32 = 25;
/// Pictures that come whole behind whole keyframes, at the very least: how many is chance.
const ENOUGH: usize = 10;
const LOSSY: Trouble = Trouble {
    lost: 20,
    late: 50,
    nat: false,
};

/// On a network the relay asks for credentials.
fn island() -> Island {
    let rtsp = format!(
        "listen = \"0.0.0.0:8554\"\n[auth]\n[[auth.users]]\nname = \"anna\"\nha1_md5 = \"{}\"\nha1_sha256 = \"{}\"\n",
        ha1_md5("anna", "topsecret99"),
        ha1_sha256("anna", "topsecret99")
    );
    Island::start(&["mystream"], &rtsp)
}

fn publisher(island: &Island) -> Peer {
    let publishing = publishing("ffmpeg, TCP", "localhost");
    Peer::spawn("ffmpeg, publishing", &mut island.enter(&publishing))
}

fn publishing(name: &str, host: &str) -> Command {
    let rows = readme::table("Publisher");
    let row = rows.iter().find(|row| row.name() == name).unwrap();
    let row = row.with("localhost", &format!("anna:topsecret99@{host}"));
    row.publishing(&clips::h264().path)
}

/// A reader of README's table, on the far side.
fn reader(island: &Island, link: &Link, name: &str) -> Watch {
    let rows = readme::table("Reader");
    let row = rows
        .iter()
        .find(|row| row.name() == name)
        .unwrap_or_else(|| panic!("no {name}"));
    // A range of ports for each, so that the journal tells them apart. ffmpeg waits 0.1 s for what is late, also if it
    // got no time itself on a busy machine: so it shall wait longer. With several threads its decoder may go on with a
    // damaged picture after a keyframe that is whole.
    let row = row
        .with("localhost", &format!("anna:topsecret99@{RELAY}"))
        .with(
            "_transport udp",
            "_transport udp -min_port 20000 -max_port 20999 -max_delay 2000000 -threads 1",
        )
        .with("avdec_h264", "avdec_h264 max-threads=1")
        .with("protocols=udp", "protocols=udp port-range=21000-21999");
    reader_by(&row, island, |cmd| link.enter(cmd))
}

#[test]
fn readers_by_tcp_lose_nothing_when_the_link_does() {
    let island = island();
    let link = Link::start(&island, LOSSY);
    let _publisher = publisher(&island);
    let names = ["ffmpeg, TCP", "GStreamer, TCP", "retina, TCP", "ffmpeg, HTTP"];
    let readers = names.map(|name| reader(&island, &link, name)).into();
    until_all_have_seen(readers, &clips::h264().pictures, PICTURES);
    assert!(link.count("lost") > 5, "{} frames were lost", link.count("lost"));
}

/// Two things are decided by the link's journal, which tells what the relay sent and what of it was lost.
///
/// What the relay sent is whole: its sequence numbers have no gap.
///
/// What came whole is right: a receiver that takes each group from its keyframe to the first gap, and no more,
/// decodes every one of these pictures as it was published. Here is no chance, and no player.
///
/// What a player must show follows from it: in each group of pictures, from its keyframe on, every picture before the
/// first that lost a packet. Of these half must be among what it decoded, as they were published: ffmpeg's
/// decoder (5.1) spoils a whole group by itself when the picture before its keyframe was cut within a slice: it does
/// so with a file as well, in which nothing else is missing. What players make of other pictures is their own affair.
#[test]
fn readers_by_udp_show_every_picture_up_to_a_loss_and_again_from_the_next_keyframe() {
    let island = island();
    let link = Link::start(&island, LOSSY);
    let _publisher = publisher(&island);
    let readers = vec![
        reader(&island, &link, "ffmpeg, UDP"),
        reader(&island, &link, "GStreamer, UDP"),
    ];
    let source = &clips::h264().pictures;
    let readers = wait_for_all(readers, source, 10 * GROUP);
    let seen: Vec<_> = readers.iter().map(Watch::seen).collect();
    drop(readers);
    let sent = link.sent();
    for (seen, ports, who) in [
        (&seen[0], 20_000..21_000, "ffmpeg"),
        (&seen[1], 21_000..22_000, "GStreamer"),
    ] {
        let mine: Vec<_> = sent.iter().filter(|s| ports.contains(&s.to)).cloned().collect();
        assert_whole(&mine, who);
        let taken = whole::take(&mine, RATE);
        taken.assert_right(source, GROUP, who);
        assert!(taken.resynchronised >= 2, "{who}: {} times", taken.resynchronised);
        assert_resynchronises(source, seen, &mine, who);
    }
}

#[test]
fn a_picture_of_ffmpeg_that_was_damaged_on_its_way_in_never_goes_out_as_a_whole_one() {
    damage_before_the_relay_shows_behind_it("ffmpeg, UDP");
}

#[test]
fn a_picture_of_gstreamer_that_was_damaged_on_its_way_in_never_goes_out_as_a_whole_one() {
    damage_before_the_relay_shows_behind_it("GStreamer, UDP");
}

/// What the relay lacks is a gap in what it sends.
fn damage_before_the_relay_shows_behind_it(publisher: &str) {
    let island = island();
    let link = Link::start(&island, LOSSY);
    let _publisher = Peer::spawn(publisher, &mut link.enter(&publishing(publisher, RELAY)));
    let source = &clips::h264().pictures;
    let reader = reader(&island, &link, "ffmpeg, UDP");
    drop(wait_for_all(vec![reader], source, 10 * GROUP));
    let mut sent = link.sent();
    sent.retain(|s| (20_000..21_000).contains(&s.to));
    let gaps = sent
        .windows(2)
        .filter(|p| p[1].sequence != p[0].sequence.wrapping_add(1))
        .count();
    assert!(gaps >= 5, "{publisher}: {gaps} gaps: nothing was looked at");
    // Everything that left the relay counts: what the link took then is another affair.
    sent.iter_mut().for_each(|s| s.lost = false);
    let taken = whole::take(&sent, RATE);
    taken.assert_right(source, GROUP, publisher);
    assert!(
        taken.resynchronised >= 2,
        "{publisher}: {} times",
        taken.resynchronised
    );
}

fn assert_whole(sent: &[Sent], who: &str) {
    assert!(sent.len() > 500, "{who}: {} packets", sent.len());
    for pair in sent.windows(2) {
        assert_eq!(
            pair[1].sequence,
            pair[0].sequence.wrapping_add(1),
            "{who}: the relay itself left a gap: {pair:?}"
        );
    }
}

#[track_caller]
fn assert_resynchronises(source: &[String], seen: &[String], sent: &[Sent], who: &str) {
    // Whether each picture, by its place after the first one, came whole.
    let mut whole = Vec::new();
    for packet in sent {
        let n = (packet.timestamp.wrapping_sub(sent[0].timestamp) / 3600) as usize;
        whole.resize(whole.len().max(n + 1), true);
        whole[n] &= !packet.lost;
    }
    let groups = whole.chunks(GROUP).enumerate();
    let due: Vec<usize> = groups
        .flat_map(|(n, group)| {
            (n * GROUP..)
                .zip(group)
                .take_while(|(_, whole)| **whole)
                .map(|(at, _)| at)
        })
        .collect();
    let again = whole
        .chunks(GROUP)
        .collect::<Vec<_>>()
        .windows(2)
        .filter(|w| w[0].contains(&false) && w[1][0])
        .count();
    assert!(
        again >= 2,
        "{who}: only {again} whole keyframes after a loss, so nothing was looked at"
    );
    // It began at one of the clip's keyframes: the one from which most is right.
    let seen: Vec<_> = seen
        .iter()
        .filter_map(|md5| source.iter().position(|s| s == md5))
        .collect();
    let last = *seen.iter().max().expect("a whole picture");
    let shown = |start: usize| {
        let due: Vec<_> = due.iter().map(|at| start + at).filter(|at| *at <= last).collect();
        (due.iter().filter(|at| seen.contains(at)).count(), due.len())
    };
    let starts = (0..source.len()).step_by(GROUP).map(shown);
    let (shown, due) = starts.max().expect("a clip has keyframes");
    assert!(
        shown >= ENOUGH && shown * 2 >= due,
        "{who} shows {shown} of {due} that came whole"
    );
}

#[test]
fn readers_by_udp_behind_a_nat_get_pictures_without_a_gap() {
    let island = island();
    let link = Link::start(
        &island,
        Trouble {
            nat: true,
            ..Trouble::default()
        },
    );
    let _publisher = publisher(&island);
    // One after the other: the relay learns a port only where it can mean one session. What it sends before a player
    // has opened its firewall is lost.
    for name in ["ffmpeg, UDP", "GStreamer, UDP"] {
        let reader = reader(&island, &link, name).only_from_keyframe();
        until_all_have_seen(vec![reader], &clips::h264().pictures, PICTURES);
    }
    let sent = link.sent();
    let last = &sent[sent.len() - 1];
    assert!(last.to >= 40_000, "it was sent to the port of the NAT: {last:?}");
    assert!(link.count("nat") >= 4, "{} ports", link.count("nat"));
}
