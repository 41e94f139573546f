//! What is printed, and nowhere else. A reader that stops early (`| head`) has read enough: that is no failure.

use std::io::{ErrorKind, Write, stderr, stdout};

use crate::view::printable;

/// Prints what was found. An error says that it could not be written to where it should go.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Tells the user something beside what was found. If nobody listens, there is nobody else to tell.
pub(crate) fn tell(text: &str) {
    let mut out = stderr().lock();
    let _ = out.write_all(printable(text).as_bytes()).and_then(|()| out.flush());
}
