//! `louver formats`: what this build takes in and gives out.

use std::fmt::Write;

use serde_json::Value;
use serde_json::json;

use crate::av::formats;
use crate::av::formats::Formats;
use crate::cli::Failure;
use crate::cli::result;

/// Prints all lists.
pub(super) fn formats(as_json: bool) -> Result<(), Failure> {
    let formats = formats::list();
    let text = match as_json {
        true => format!("{}\n", to_json(&formats)),
        false => to_text(&formats),
    };
    result(text.as_bytes())
}

fn to_json(f: &Formats) -> Value {
    let relayed = f
        .relayed
        .iter()
        .map(|r| json!({ "codec": r.codec, "rtsp": r.rtsp, "mpegts": r.mpegts, "pictures": r.pictures }));
    let codecs = f.codecs.iter().map(|c| {
        json!({
            "name": c.name, "description": c.description, "kind": c.kind,
            "decodes": c.decodes, "encodes": c.encodes,
        })
    });
    let containers = f.containers.iter().map(
        |c| json!({ "name": c.name, "description": c.description, "reads": c.reads, "writes": c.writes }),
    );
    let protocols = f
        .protocols
        .iter()
        .map(|p| json!({ "name": p.name, "reads": p.reads, "writes": p.writes }));
    let devices = f
        .devices
        .iter()
        .map(|d| json!({ "name": d.name, "description": d.description }));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ffmpeg": f.ffmpeg,
        "licence": f.licence,
        "h264_encoder": f.h264_encoder.as_ref().ok(),
        "relayed": relayed.collect::<Vec<_>>(),
        "codecs": codecs.collect::<Vec<_>>(),
        "containers": containers.collect::<Vec<_>>(),
        "protocols": protocols.collect::<Vec<_>>(),
        "devices": devices.collect::<Vec<_>>(),
    })
}

fn to_text(f: &Formats) -> String {
    let mut out = format!(
        "Louver {} with {} ({})\n",
        env!("CARGO_PKG_VERSION"),
        f.ffmpeg,
        f.licence
    );
    let _ = match &f.h264_encoder {
        Ok(name) => writeln!(out, "Cameras are encoded as H.264 by {name}."),
        Err(why) => writeln!(out, "Cameras cannot be encoded as H.264: {why}."),
    };
    heading(
        &mut out,
        "Relayed (R over RTSP as it came, T as MPEG-TS for players that ask, P as pictures)",
    );
    for r in &f.relayed {
        let flags = [flag(r.rtsp, 'R'), flag(r.mpegts, 'T'), flag(r.pictures, 'P')];
        row(&mut out, &flags, &r.codec, "");
    }
    heading(&mut out, "Kinds of capture devices");
    for d in &f.devices {
        row(&mut out, &[], &d.name, &d.description);
    }
    heading(&mut out, "Protocols of FFmpeg's libraries (R read, W written)");
    for p in &f.protocols {
        row(&mut out, &[flag(p.reads, 'R'), flag(p.writes, 'W')], &p.name, "");
    }
    heading(&mut out, "Containers of FFmpeg's libraries (R read, W written)");
    for c in &f.containers {
        row(
            &mut out,
            &[flag(c.reads, 'R'), flag(c.writes, 'W')],
            &c.name,
            &c.description,
        );
    }
    heading(&mut out, "Codecs of FFmpeg's libraries (D decoded, E encoded)");
    for c in &f.codecs {
        let about = format!("{}: {}", c.kind, c.description);
        row(
            &mut out,
            &[flag(c.decodes, 'D'), flag(c.encodes, 'E')],
            &c.name,
            &about,
        );
    }
    out
}

fn heading(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n{text}");
}

fn flag(is: bool, letter: char) -> char {
    if is { letter } else { '.' }
}

fn row(out: &mut String, flags: &[char], name: &str, about: &str) {
    let flags: String = flags.iter().collect();
    let line = format!("  {flags:<3} {name:<24} {about}");
    let _ = writeln!(out, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_tell_of_h264_and_of_this_builds_libraries() {
        let formats = formats::list();
        let text = to_text(&formats);
        assert!(
            text.contains("\n  RTP H.264\n") && text.contains("\nCodecs of FFmpeg"),
            "{text}"
        );
        let value = to_json(&formats);
        for list in ["relayed", "codecs", "containers", "protocols", "devices"] {
            assert!(!value[list].as_array().unwrap().is_empty(), "{list}");
        }
        let h264 = |c: &Value| c["name"] == "h264" && c["decodes"] == true;
        assert!(value["codecs"].as_array().unwrap().iter().any(h264));
    }
}
