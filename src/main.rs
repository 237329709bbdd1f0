//! The `tracegate` program: parses the command line and runs one command.

use std::process::ExitCode;

use clap::Parser;

// A gateway allocates small things all the time, on every worker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = tracegate::cli::Arguments::parse();
    match tracegate::cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
