//! Draws text over the last text on a terminal, for `sidekey status --watch`.

/// Moves the cursor to the top, and makes the terminal cut off long lines. Otherwise, a long line
/// would continue in the next row, and push other lines out of the screen.
const TO_TOP: &str = "\x1b[?7l\x1b[H";
const CLEAR_LINE_END: &str = "\x1b[K";
/// Clears the rows below the text, and lets long lines continue in the next row again.
const CLEAR_BELOW: &str = "\x1b[J\x1b[?7h";

/// Returns the bytes that draw `text` at the top of a terminal with `height` lines. Lines that do not
/// fit are omitted, and the last line says how many. The terminal cuts lines that are too long.
pub(super) fn frame(text: &str, height: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    // The cursor stays in the line below the text.
    let room = height.saturating_sub(1);
    let mut frame = TO_TOP.to_owned();
    let mut push = |line: &str| frame.extend([line, CLEAR_LINE_END, "\r\n"]);
    if lines.len() <= room {
        lines.iter().for_each(|line| push(line));
    } else {
        let kept = room.saturating_sub(1);
        lines.iter().take(kept).for_each(|line| push(line));
        push(&format!("… {} more lines do not fit into the terminal", lines.len() - kept));
    }
    frame + CLEAR_BELOW
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(text: &str, height: usize) -> Vec<String> {
        let frame = frame(text, height);
        let body = frame.strip_prefix(TO_TOP).and_then(|rest| rest.strip_suffix(CLEAR_BELOW));
        let body = body.expect("a frame must begin at the top and clear what is below");
        body.split_terminator("\x1b[K\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn frame_has_at_most_the_height_of_the_terminal() {
        assert_eq!(visible("a\nb\n", 3), ["a", "b"]);
        assert_eq!(visible("a\nb\nc\n", 3), ["a", "… 2 more lines do not fit into the terminal"]);
        assert_eq!(visible("a\nb\n", 1), ["… 2 more lines do not fit into the terminal"]);
    }
}
