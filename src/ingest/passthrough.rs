//! H.264 that a camera made itself: keyframes and parameter sets, without decoding. Pure.

use bytes::Bytes;

use crate::av::annexb;

/// Follows a camera's stream.
#[derive(Default)]
pub(crate) struct Passthrough {
    sps: Option<Bytes>,
    pps: Option<Bytes>,
}

impl Passthrough {
    /// The sets seen last, SPS first; empty before both were seen.
    pub(crate) fn sets(&self) -> Vec<Bytes> {
        match (&self.sps, &self.pps) {
            (Some(sps), Some(pps)) => vec![sps.clone(), pps.clone()],
            _ => Vec::new(),
        }
    }
    /// Looks at what one read gave: whether it is a keyframe. `None` before the parameter sets are known, and
    /// for reads that hold no picture.
    pub(crate) fn look(&mut self, data: &[u8]) -> Option<bool> {
        let (mut picture, mut keyframe) = (false, false);
        for nal in annexb::nal_units(data) {
            match annexb::kind(nal) {
                annexb::SPS => replace(&mut self.sps, nal),
                annexb::PPS => replace(&mut self.pps, nal),
                annexb::IDR => (picture, keyframe) = (true, true),
                1..=4 => picture = true,
                _ => {}
            }
        }
        let known = self.sps.is_some() && self.pps.is_some();
        (picture && known).then_some(keyframe)
    }
}

fn replace(held: &mut Option<Bytes>, nal: &[u8]) {
    if held.as_deref() != Some(nal) {
        *held = Some(Bytes::copy_from_slice(nal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::av::encode::Encoder;
    use crate::av::encode::Options;
    use crate::av::frame::Frame;
    use crate::base::time::MediaTime;
    use crate::base::time::Rate;

    #[test]
    fn keyframes_and_sets_of_a_camera_are_known() {
        let mut camera = Encoder::open(&Options {
            width: 64,
            height: 48,
            fps: 30.0,
            bitrate: None,
            full_range: false,
            encoder: None,
        })
        .unwrap();
        let mut pass = Passthrough::default();
        for n in 0..5 {
            let pts = MediaTime::new(n * 3000, Rate::VIDEO);
            let made = camera
                .encode(&Frame::black(64, 48).unwrap(), pts, n == 3)
                .unwrap();
            assert_eq!(pass.look(&made[0].data), Some(n == 0 || n == 3));
        }
        assert_eq!(pass.sets(), camera.parameter_sets());
    }

    #[test]
    fn nothing_passes_before_the_parameter_sets() {
        let mut pass = Passthrough::default();
        let slice = [0, 0, 0, 1, 0x41, 0x9a];
        assert_eq!(pass.look(&slice), None);
        assert_eq!(
            pass.look(&[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2]),
            None,
            "no picture"
        );
        assert_eq!(pass.sets().len(), 2);
        assert_eq!(pass.look(&slice), Some(false));
        assert_eq!(pass.look(b""), None);
    }
}
