//! How a report looks on what it is shown on: so many columns, these characters, colours or none. Pure.
//!
//! Not here: finding out what the terminal can do (`cli`), what is in the report (`table`, `charts`).

/// Longest bar, in characters: longer ones tell no more.
const LONGEST_BAR: usize = 40;

/// A shorter bar tells nothing.
const SHORTEST_BAR: usize = 6;

/// What a report is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns.
    pub width: usize,
    /// Whether it shows more than ASCII.
    pub utf8: bool,
    /// Whether it knows ANSI's colours.
    pub colour: bool,
}

impl Look {
    /// A file, or a program that reads us: 80 columns, no colours.
    pub const fn plain(utf8: bool) -> Self {
        Self {
            width: 80,
            utf8,
            colour: false,
        }
    }

    /// How long a bar may be beside so many other columns; 0: there is no room for bars.
    pub(super) fn bar_length(&self, beside: usize) -> usize {
        match self.width.saturating_sub(beside).min(LONGEST_BAR) {
            0..SHORTEST_BAR => 0,
            length => length,
        }
    }

    /// A bar of `value`, where `most` has `length` characters; filled up with blanks.
    pub(super) fn bar(&self, value: u64, most: u64, length: usize) -> String {
        let filled = match most {
            0 => 0,
            _ => (u128::from(value) * length as u128).div_ceil(u128::from(most)),
        };
        let filled = usize::try_from(filled).unwrap_or(length).min(length);
        let full = if self.utf8 { "█" } else { "#" };
        let bar = self.painted(CYAN, &full.repeat(filled));
        format!("{bar}{}", " ".repeat(length - filled))
    }

    /// One character for a value: blank for nothing, else higher (or denser) the more it is.
    pub(super) fn height(&self, value: u64, most: u64) -> char {
        let heights = if self.utf8 { HEIGHTS } else { DENSITIES };
        step(&heights, value, most)
    }

    /// The same as a shade, for maps.
    pub(super) fn shade(&self, value: u64, most: u64) -> char {
        if self.utf8 {
            step(&SHADES, value, most)
        } else {
            step(&DENSITIES, value, most)
        }
    }

    /// Stands for a hidden value.
    pub(super) fn hidden(&self) -> char {
        if self.utf8 { '·' } else { '?' }
    }

    pub(super) fn title(&self, text: &str) -> String {
        self.painted(BOLD, text)
    }

    pub(super) fn dim(&self, text: &str) -> String {
        self.painted(DIM, text)
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Select Graphic Rendition (ECMA-48).
const BOLD: &str = "1";
const DIM: &str = "2";
const CYAN: &str = "36";

const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const SHADES: [char; 4] = ['░', '▒', '▓', '█'];
const DENSITIES: [char; 8] = ['.', ':', '-', '=', '+', '*', '#', '@'];

/// The first step for the least that is more than nothing, the last for the most.
fn step(steps: &[char], value: u64, most: u64) -> char {
    if value == 0 || most == 0 {
        return ' ';
    }
    let n = (u128::from(value) * steps.len() as u128).div_ceil(u128::from(most));
    let n = usize::try_from(n).unwrap_or(steps.len()).clamp(1, steps.len());
    steps[n - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTF8: Look = Look::plain(true);
    const ASCII: Look = Look::plain(false);

    #[test]
    fn the_most_is_the_whole_bar_and_anything_is_at_least_one_character() {
        assert_eq!(UTF8.bar(10, 10, 6), "██████");
        assert_eq!(ASCII.bar(1, 1_000_000, 6), "#     ");
        assert_eq!(ASCII.bar(0, 10, 6), "      ");
        assert_eq!(ASCII.bar(0, 0, 6), "      ");
        assert_eq!(ASCII.bar(u64::MAX, u64::MAX, 3), "###");
        assert_eq!(ASCII.bar(20, 10, 3), "###", "never longer than it may be");
    }

    #[test]
    fn one_character_tells_more_from_less() {
        let of = |look: Look| (0..=8).map(|n| look.height(n, 8)).collect::<String>();
        assert_eq!(of(UTF8), " ▁▂▃▄▅▆▇█");
        assert_eq!(of(ASCII), " .:-=+*#@");
        let shades: String = (0..=4).map(|n| UTF8.shade(n, 4)).collect();
        assert_eq!(shades, " ░▒▓█");
        assert!(ASCII.shade(1, 3).is_ascii() && ASCII.hidden().is_ascii());
    }

    #[test]
    fn colours_are_around_what_is_seen_and_never_in_plain_text() {
        let colour = Look {
            colour: true,
            ..ASCII
        };
        assert_eq!(colour.bar(1, 2, 4), "\u{1b}[36m##\u{1b}[0m  ");
        assert_eq!(colour.title("a"), "\u{1b}[1ma\u{1b}[0m");
        assert_eq!(ASCII.title("a"), "a");
    }

    #[test]
    fn without_room_there_are_no_bars() {
        assert_eq!(ASCII.bar_length(75), 0);
        assert_eq!(ASCII.bar_length(74), 6);
        assert_eq!(ASCII.bar_length(10), LONGEST_BAR);
        assert_eq!(ASCII.bar_length(1000), 0);
    }
}
