//! The `louver` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    louver::cli::main(std::env::args_os())
}
