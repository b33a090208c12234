//! The rules of what players and publishers were seen to insist on and to get wrong, one test each. The numbers are
//! those of the list of interoperability rules: 3.2 is what descriptions look like, 3.6 what codecs need in them.

use super::*;

/// What readers are told of a publisher's description.
fn told(text: &str) -> String {
    write(&parse(text.as_bytes()).unwrap().0, 7)
}

/// Where a line is, which must be there.
#[track_caller]
fn line(text: &str, start: &str) -> usize {
    let found = text.lines().position(|l| l.starts_with(start));
    found.unwrap_or_else(|| panic!("no {start} in\n{text}"))
}

const ONE: &str = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n";

#[test]
fn rule_2_25_a_description_without_origin_or_with_stray_characters_is_read() {
    let broken = [
        ONE.to_owned(),
        format!("v=0\r\ns=\r\n{ONE}"),
        format!("\u{feff}v=0\r\no=\r\nt=\r\n{ONE}"),
        format!("v=0\r\n\r\n{ONE}a=ssrc: 123 cname:x\r\na=\r\n"),
        format!("v=0 \r\n{}\0", ONE.replace("\r\n", "\n")),
        format!("v=0\r\n{}", ONE.replace("\r\n", " \r\r\n")),
    ];
    for text in broken {
        assert_eq!(drawn(&text), ["video H.264 96 H264/90000 - []"], "{text:?}");
    }
}

#[test]
fn rule_2_25_parameters_with_stray_semicolons_are_read() {
    for fmtp in ["a=1;b=2;", " a=1; b=2 ; ", ";a=1;;b=2", "a=1 ;b=2;;;"] {
        let text = format!("{ONE}a=fmtp:96 {fmtp}\r\n");
        assert_eq!(drawn(&text), ["video H.264 96 H264/90000 a=1;b=2 []"], "{fmtp:?}");
    }
}

#[test]
fn rule_3_2_3_controls_are_plain_numbers_and_the_whole_is_a_star() {
    let text = told(&format!(
        "{ONE}m=audio 0 RTP/AVP 0\r\na=control:rtsp://cam/x/track2\r\n"
    ));
    assert!(text.contains("a=control:*\r\n"), "{text}");
    assert!(text.contains("a=control:trackID=0\r\n") && text.contains("a=control:trackID=1\r\n"));
    assert!(
        !text.contains("cam"),
        "where a publisher sends from is told to nobody"
    );
}

#[test]
fn rule_3_2_4_the_lines_that_players_need_are_there_and_in_order() {
    let text = told(ONE);
    let order = [
        "v=0",
        "o=- 7 1 IN IP4 ",
        "s=L",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "m=video 0 RTP/AVP 96",
    ];
    let places: Vec<_> = order.iter().map(|start| line(&text, start)).collect();
    assert!(places.is_sorted(), "{text}");
    assert!(
        text.contains("a=range:npt=now-\r\n"),
        "a live stream has no end to seek to"
    );
    assert!(!text.to_lowercase().contains("live555"));
}

#[test]
fn rule_3_2_5_names_come_before_parameters_whatever_the_publisher_did() {
    let text = told("m=video 0 RTP/AVP 96\r\na=fmtp:96 packetization-mode=1\r\na=rtpmap:96 H264/90000\r\n");
    assert!(line(&text, "a=rtpmap:96") < line(&text, "a=fmtp:96"), "{text}");
}

#[test]
fn rule_3_2_5_one_payload_type_for_each_track_the_first() {
    let text = "m=video 0 RTP/AVP 97 96 26\r\na=rtpmap:96 H264/90000\r\na=rtpmap:97 H265/90000\r\n";
    assert_eq!(drawn(text), ["video H.265 97 H265/90000 - []"]);
    assert!(told(text).contains("m=video 0 RTP/AVP 97\r\n"));
}

#[test]
fn rule_3_2_6_a_description_with_every_codec_fits_ffmpegs_16_kilobytes() {
    let vorbis = format!(
        "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 vorbis/48000/2\r\na=fmtp:97 configuration={}\r\n",
        "A".repeat(6000)
    );
    assert!(told(&format!("{ONE}{vorbis}")).len() < 16_384);
}

#[test]
fn rule_3_6_1_and_2_parameter_sets_pass_as_they_came() {
    let h264 = "packetization-mode=1;profile-level-id=42C01E;sprop-parameter-sets=Z0I=,aM4=";
    let h265 = "sprop-vps=QAE=;sprop-sps=QgE=;sprop-pps=RAE=";
    let text = told(&format!(
        "{ONE}a=fmtp:96 {h264}\r\nm=video 0 RTP/AVP 97\r\na=rtpmap:97 H265/90000\r\na=fmtp:97 {h265}\r\n"
    ));
    assert!(
        text.contains(&format!("a=fmtp:96 {h264}\r\n")) && text.contains(&format!("a=fmtp:97 {h265}\r\n"))
    );
}

#[test]
fn rule_3_6_3_mjpeg_is_type_26_without_parameters() {
    let text = told("m=video 0 RTP/AVP 26\r\n");
    assert!(
        text.contains("m=video 0 RTP/AVP 26\r\na=rtpmap:26 JPEG/90000\r\na=control"),
        "{text}"
    );
}

#[test]
fn rule_3_6_4_aac_is_known_in_both_forms() {
    let text = "m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/44100/2\na=fmtp:97 mode=AAC-hbr;config=1210\n\
        m=audio 0 RTP/AVP 98\na=rtpmap:98 MP4A-LATM/44100/2\na=fmtp:98 cpresent=0;config=400024203fc0\n";
    let codecs: Vec<_> = parse(text.as_bytes())
        .unwrap()
        .0
        .tracks
        .iter()
        .map(|t| t.codec)
        .collect();
    assert_eq!(codecs, [Codec::Aac, Codec::AacLatm]);
}

#[test]
fn rule_3_6_5_opus_is_always_48000_2() {
    for map in ["opus/48000", "OPUS/48000/1", "opus/16000/1", "opus"] {
        let text = told(&format!(
            "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 {map}\r\na=fmtp:97 sprop-stereo=0\r\n"
        ));
        assert!(
            text.to_lowercase().contains("a=rtpmap:97 opus/48000/2\r\n"),
            "{map}: {text}"
        );
    }
}

#[test]
fn rule_3_6_6_fixed_types_need_no_name_and_are_told_with_one() {
    let kinds = [
        (0, "audio G.711 mu-law 0 PCMU/8000"),
        (3, "audio other 3 GSM/8000"),
        (8, "audio G.711 A-law 8 PCMA/8000"),
        (9, "audio G.722 9 G722/8000"),
        (10, "audio LPCM 10 L16/44100/2"),
        (11, "audio LPCM 11 L16/44100/1"),
        (14, "audio MPEG audio 14 MPA/90000"),
        (26, "video MJPEG 26 JPEG/90000"),
        (32, "video MPEG-1/2 video 32 MPV/90000"),
        (33, "video MPEG-TS 33 MP2T/90000"),
    ];
    for (payload_type, want) in kinds {
        let kind = want.split(' ').next().unwrap();
        let text = format!("m={kind} 0 RTP/AVP {payload_type}\r\n");
        assert_eq!(drawn(&text), [format!("{want} - []")]);
        let name = want.rsplit(' ').next().unwrap();
        assert!(
            told(&text).contains(&format!("a=rtpmap:{payload_type} {name}\r\n")),
            "{want}"
        );
    }
    let wide = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 PCMA/16000/1\r\n";
    assert_eq!(drawn(wide), ["audio G.711 A-law 97 PCMA/16000/1 - []"]);
}

#[test]
fn every_codec_is_known_by_its_name_in_any_case() {
    let names = [
        ("video", "H264/90000", Codec::H264),
        ("video", "H265/90000", Codec::H265),
        ("video", "AV1/90000", Codec::Av1),
        ("video", "VP8/90000", Codec::Vp8),
        ("video", "VP9/90000", Codec::Vp9),
        ("video", "MP4V-ES/90000", Codec::Mpeg4Visual),
        ("video", "MPV/90000", Codec::Mpeg2Video),
        ("video", "JPEG/90000", Codec::Jpeg),
        ("video", "MP2T/90000", Codec::MpegTs),
        ("audio", "opus/48000/2", Codec::Opus),
        ("audio", "PCMU/8000", Codec::Pcmu),
        ("audio", "PCMA/8000", Codec::Pcma),
        ("audio", "G722/8000", Codec::G722),
        ("audio", "L8/8000", Codec::Lpcm),
        ("audio", "L16/48000/2", Codec::Lpcm),
        ("audio", "L24/48000/2", Codec::Lpcm),
        ("audio", "ac3/48000/2", Codec::Ac3),
        ("audio", "MPA/90000", Codec::MpegAudio),
        ("audio", "mpa-robust/90000", Codec::Other),
        ("audio", "vorbis/44100/2", Codec::Vorbis),
        ("application", "smpte336m/90000", Codec::Klv),
        ("application", "vnd.onvif.metadata/90000", Codec::Other),
    ];
    for (kind, name, codec) in names {
        for name in [name.to_owned(), name.to_uppercase(), name.to_lowercase()] {
            let text = format!("m={kind} 0 RTP/AVP 99\r\na=rtpmap:99 {name}\r\n");
            let (description, _) = parse(text.as_bytes()).unwrap();
            assert_eq!(description.tracks[0].codec, codec, "{name}");
            assert!(
                write(&description, 1).contains(&format!("a=rtpmap:99 {name}\r\n")),
                "{name}"
            );
        }
    }
}

#[test]
fn a_name_that_was_forgotten_is_told_by_the_parameters() {
    let of = |fmtp: &str, kind: &str| drawn(&format!("m={kind} 0 RTP/AVP 96\na=fmtp:96 {fmtp}\n")).remove(0);
    assert_eq!(
        of("sprop-vps=QAE=;sprop-sps=QgE=", "video"),
        "video H.265 96 H265/90000 sprop-vps=QAE=;sprop-sps=QgE= []"
    );
    // 44.1 kHz, says the configuration.
    assert_eq!(
        of("mode=AAC-hbr;config=1210", "audio"),
        "audio AAC 96 mpeg4-generic/44100 mode=AAC-hbr;config=1210 []"
    );
    assert_eq!(
        of("mode=AAC-hbr", "audio"),
        "audio other 96 /8000 mode=AAC-hbr []"
    );
}

#[test]
fn the_protocol_of_rtp_over_a_connection_of_its_own_is_rtp_too() {
    let text = "m=video 9 TCP/RTP/AVP 26\r\nm=audio 0 rtp/avpf 0\r\nm=audio 0 RTP/AVP/TCP 8\r\n";
    assert_eq!(drawn(text).len(), 3);
    assert!(told(text).contains("m=video 0 RTP/AVP 26\r\n"));
}
