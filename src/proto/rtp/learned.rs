//! Parameter sets that come with the pictures, taken over into what SDP says of a track.
//!
//! Encoders change them, and some publishers announce none. Without this, readers who come later would be told of
//! sets that are no longer true, and keyframes without sets would get those. Not here: sets in fragments, which
//! nobody sends, since they are small.

use crate::media::Codec;
use crate::media::Track;
use crate::proto::bits::to_hex;
use crate::proto::h264;
use crate::proto::h265;
use crate::proto::mpeg4;
use crate::proto::rtp::join::aggregated;

/// The largest set that is taken over; real ones have 10 to 200 bytes, and SDP must stay small.
const MAX_SET: usize = 1024;
/// The most sets of a track.
const MAX_SETS: usize = 8;

/// Takes the parameter sets (H.264, H.265) or headers (MPEG-4 part 2) of an RTP payload over into the `a=fmtp` of
/// its track. Says whether that changed anything.
pub fn learn_parameter_sets(track: &mut Track, payload: &[u8]) -> bool {
    match track.codec {
        Codec::H264 => learn_h264(track, payload),
        Codec::H265 => learn_h265(track, payload),
        Codec::Mpeg4Visual => learn_mpeg4(track, payload),
        _ => false,
    }
}

fn learn_h264(track: &mut Track, payload: &[u8]) -> bool {
    use h264::nal;
    let name = |n: &[u8]| Some((h264::nal_type(n), h264::parameter_set_id(n)?));
    let mut sets = Sets::new(name, || h264::parameter_sets(track));
    match (h264::nal_type(payload), payload) {
        (nal::STAP_A, [_, rest @ ..]) => aggregated(rest).for_each(|n| sets.keep(n)),
        (nal::SPS | nal::PPS, _) => sets.keep(payload),
        _ => {}
    }
    let Some(sets) = sets.changed() else {
        return false;
    };
    if track.fmtp.is_none() {
        track.fmtp = Some("packetization-mode=1".into());
    }
    if let Some(id) = sets.first().and_then(|sps| h264::profile_level_id(sps)) {
        set_param(track, "profile-level-id", &id);
    }
    let all: Vec<&[u8]> = sets.iter().map(Vec::as_slice).collect();
    set_param(track, "sprop-parameter-sets", &h264::sprop_parameter_sets(&all));
    true
}

fn learn_h265(track: &mut Track, payload: &[u8]) -> bool {
    use h265::nal;
    let name = |n: &[u8]| Some((h265::nal_type(n)?, h265::parameter_set_id(n)?));
    let mut sets = Sets::new(name, || h265::parameter_sets(track));
    match (h265::nal_type(payload), payload) {
        (Some(nal::AP), [_, _, rest @ ..]) => aggregated(rest).for_each(|n| sets.keep(n)),
        (Some(nal::VPS | nal::SPS | nal::PPS), _) => sets.keep(payload),
        _ => {}
    }
    let Some(sets) = sets.changed() else {
        return false;
    };
    for (key, kind) in [
        ("sprop-vps", nal::VPS),
        ("sprop-sps", nal::SPS),
        ("sprop-pps", nal::PPS),
    ] {
        let of_kind = |n: &&Vec<u8>| h265::nal_type(n) == Some(kind);
        let all: Vec<&[u8]> = sets.iter().filter(of_kind).map(Vec::as_slice).collect();
        if !all.is_empty() {
            set_param(track, key, &h264::sprop_parameter_sets(&all));
        }
    }
    true
}

fn learn_mpeg4(track: &mut Track, payload: &[u8]) -> bool {
    // Only where something follows is it certain that they are whole.
    if !payload.starts_with(&[0, 0, 1]) || mpeg4::outline(payload).body.is_none() {
        return false;
    }
    let Some(headers) = mpeg4::headers(payload).filter(|h| h.len() <= MAX_SET) else {
        return false;
    };
    if mpeg4::config(track).as_deref() == Some(headers) {
        return false;
    }
    set_param(track, "config", &to_hex(headers));
    true
}

/// Parameter sets by type and number. Those that are known are read only when there is one to compare.
struct Sets<N, K> {
    name: N,
    known: K,
    sets: Option<Vec<Vec<u8>>>,
}

impl<N, K> Sets<N, K>
where
    N: Fn(&[u8]) -> Option<(u8, u32)>,
    K: Fn() -> Vec<Vec<u8>>,
{
    fn new(name: N, known: K) -> Self {
        Self {
            name,
            known,
            sets: None,
        }
    }

    /// Keeps a NAL unit if it is a parameter set, in place of the one with its name.
    fn keep(&mut self, nal: &[u8]) {
        let Some(name) = (self.name)(nal).filter(|_| nal.len() <= MAX_SET) else {
            return;
        };
        let sets = self.sets.get_or_insert_with(&self.known);
        match sets.iter().position(|s| (self.name)(s) == Some(name)) {
            Some(at) => sets[at] = nal.to_vec(),
            None if sets.len() < MAX_SETS => sets.push(nal.to_vec()),
            None => {}
        }
    }

    /// All sets, in the order of their types and numbers, if one is new. A packet with two of one name has the second:
    /// what is known is compared with what it ends with, or it would be news each time that it comes.
    fn changed(self) -> Option<Vec<Vec<u8>>> {
        let sorted = |mut sets: Vec<Vec<u8>>| {
            sets.sort_by_key(|s| (self.name)(s));
            sets
        };
        let sets = sorted(self.sets?);
        (sets != sorted((self.known)())).then_some(sets)
    }
}

/// Gives a parameter of `a=fmtp` a value; the others stay as they are.
fn set_param(track: &mut Track, key: &str, value: &str) {
    let old = track.fmtp.take().unwrap_or_default();
    let is_key = |p: &str| {
        p.split_once('=')
            .is_some_and(|(k, _)| k.trim().eq_ignore_ascii_case(key))
    };
    let others = old
        .split(';')
        .map(str::trim)
        .filter(|p| !p.is_empty() && !is_key(p));
    let new = format!("{key}={value}");
    track.fmtp = Some(others.chain([new.as_str()]).collect::<Vec<_>>().join(";"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::rtp::parameter_set_payloads;
    use crate::proto::rtp::testing::track;

    const SPS: [u8; 6] = [0x67, 0x42, 0xc0, 0x0d, 0xda, 0x05];
    const NEWER: [u8; 6] = [0x67, 0x4d, 0x40, 0x1e, 0xda, 0x05];
    const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];

    #[test]
    fn h264_sets_that_nobody_announced_are_learned() {
        let mut h264 = track(Codec::H264, 90_000, None);
        assert!(learn_parameter_sets(&mut h264, &PPS));
        assert!(learn_parameter_sets(&mut h264, &SPS));
        assert_eq!(parameter_set_payloads(&h264), [SPS.to_vec(), PPS.to_vec()]);
        assert_eq!(h264.fmtp_param("packetization-mode"), Some("1"));
        assert!(!learn_parameter_sets(&mut h264, &SPS), "known by now");
        assert!(!learn_parameter_sets(&mut h264, &[0x65, 0x88, 0x84]));
    }

    #[test]
    fn two_sets_of_one_number_in_a_packet_are_news_once() {
        let mut h264 = track(Codec::H264, 90_000, None);
        let mut stap = vec![0x78];
        for set in [SPS, NEWER] {
            stap.extend([0, 6]);
            stap.extend(set);
        }
        assert!(learn_parameter_sets(&mut h264, &stap));
        assert_eq!(parameter_set_payloads(&h264), [NEWER.to_vec()]);
        assert!(!learn_parameter_sets(&mut h264, &stap));
    }

    #[test]
    fn h264_sets_that_change_take_the_place_of_the_old_and_all_else_stays() {
        let announced = format!("x=1;{}", h264::fmtp(&SPS, &PPS));
        let mut h264 = track(Codec::H264, 90_000, Some(&announced));
        let mut stap = vec![0x78, 0, 6];
        stap.extend(NEWER);
        stap.extend([0, 4]);
        stap.extend(PPS);
        assert!(learn_parameter_sets(&mut h264, &stap));
        assert_eq!(parameter_set_payloads(&h264), [NEWER.to_vec(), PPS.to_vec()]);
        assert_eq!(h264.fmtp_param("profile-level-id"), Some("4D401E"));
        assert_eq!(h264.fmtp_param("x"), Some("1"));
        assert_eq!(h264.fmtp.as_deref().map(|f| f.matches("sprop").count()), Some(1));
        let other = [0x68, 0x5e, 0x3c, 0x80]; // a PPS of another number joins the first
        assert!(learn_parameter_sets(&mut h264, &other));
        assert_eq!(parameter_set_payloads(&h264).len(), 3);
    }

    #[test]
    fn h265_sets_are_learned_by_their_kind() {
        let (vps, sps, pps) = (
            [0x40, 1, 0x0c, 1, 0xff],
            [0x42, 1, 1, 1, 0x60],
            [0x44, 1, 0xc1, 0x72],
        );
        let mut h265 = track(Codec::H265, 90_000, None);
        for set in [&vps[..], &sps, &pps] {
            assert!(learn_parameter_sets(&mut h265, set));
            assert!(!learn_parameter_sets(&mut h265, set));
        }
        assert_eq!(
            parameter_set_payloads(&h265),
            [vps.to_vec(), sps.to_vec(), pps.to_vec()]
        );
    }

    #[test]
    fn mpeg4_headers_are_learned_where_they_are_whole() {
        let mut mpeg4 = track(Codec::Mpeg4Visual, 90_000, Some("profile-level-id=1"));
        let headers = [0, 0, 1, 0xb0, 1, 0, 0, 1, 0x20, 5];
        assert!(!learn_parameter_sets(&mut mpeg4, &headers), "more may follow");
        let whole = [&headers[..], &[0, 0, 1, 0xb6, 0x10]].concat();
        assert!(learn_parameter_sets(&mut mpeg4, &whole));
        assert!(!learn_parameter_sets(&mut mpeg4, &whole));
        assert_eq!(parameter_set_payloads(&mpeg4), [headers]);
        assert_eq!(mpeg4.fmtp_param("profile-level-id"), Some("1"));
    }

    #[test]
    fn no_number_of_sets_makes_a_description_large() {
        let mut h264 = track(Codec::H264, 90_000, None);
        for n in 0..=255u8 {
            learn_parameter_sets(&mut h264, &[&[0x68, 1, n, 1][..], &[9; 500]].concat());
        }
        learn_parameter_sets(&mut h264, &[&SPS[..], &[9; 5000]].concat());
        assert!(parameter_set_payloads(&h264).len() <= MAX_SETS);
        assert!(h264.fmtp.is_none_or(|f| f.len() < 16_000));
    }
}
