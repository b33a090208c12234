//! Pictures in another size or pixel format.

use ffmpeg_next::color::Range;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame::Video;
use ffmpeg_next::software::scaling::Context;
use ffmpeg_next::software::scaling::Flags;

use crate::av::AvError;
use crate::av::frame::Frame;
use crate::av::frame::allocate;
use crate::av::frame::check_size;
use crate::av::sys;
use crate::av::sys::Scaling;

/// Converts pictures to one size and format; keeps its tables and its output between pictures.
pub(crate) struct Scaler {
    format: Pixel,
    width: u32,
    height: u32,
    context: Option<Scaling>,
    output: Option<Video>,
}

impl Scaler {
    /// A converter to this format and size.
    pub(crate) fn new(format: Pixel, width: u32, height: u32) -> Result<Self, AvError> {
        check_size(width, height)?;
        Ok(Self {
            format,
            width,
            height,
            context: None,
            output: None,
        })
    }
    /// Whether a picture is already as wanted.
    pub(crate) fn fits(&self, frame: &Frame) -> bool {
        let video = frame.as_av();
        video.format() == self.format && video.width() == self.width && video.height() == self.height
    }
    /// The picture, converted. What it answers stays valid until the next call.
    pub(crate) fn run(&mut self, frame: &Frame) -> Result<&mut Video, AvError> {
        let input = frame.as_av();
        check_size(input.width(), input.height())?;
        self.prepare(input)?;
        let output = match &mut self.output {
            Some(output) => output,
            none => none.insert(allocate(self.format, self.width, self.height)?),
        };
        sys::make_writable(output)?;
        let context = self.context.as_mut().expect("prepared above");
        context
            .0
            .run(input, output)
            .map_err(|e| AvError::from_av("scaling a picture", e))?;
        output.set_color_range(range_of(self.format));
        Ok(output)
    }
    fn prepare(&mut self, input: &Video) -> Result<(), AvError> {
        let same = self.context.as_ref().is_some_and(|c| {
            let i = c.0.input();
            i.format == input.format() && i.width == input.width() && i.height == input.height()
        });
        if same {
            return Ok(());
        }
        let resized = input.width() != self.width || input.height() != self.height;
        let how = if resized {
            Flags::BILINEAR
        } else {
            Flags::FAST_BILINEAR
        };
        let context = Context::get(
            input.format(),
            input.width(),
            input.height(),
            self.format,
            self.width,
            self.height,
            how,
        );
        let context = context.map_err(|e| AvError::from_av("preparing to scale", e))?;
        self.context = Some(Scaling(context));
        Ok(())
    }
}

/// The range of luma that a pixel format implies.
fn range_of(format: Pixel) -> Range {
    match format {
        Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P => Range::JPEG,
        _ => Range::MPEG,
    }
}
